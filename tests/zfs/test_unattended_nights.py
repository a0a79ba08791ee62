"""Nights nobody attends to, on real ZFS: hooks around the snapshot, and what people and monitors hear."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine, sh

from listener import Listener

pytestmark = [pytest.mark.zfs, pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")]


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


def test_people_hear_of_bad_nights_and_of_the_first_good_one(
    pool: str, tmp_path: Path, listener: Listener
) -> None:
    dataset = f"{pool}/attended"
    sh("zfs", "create", dataset)
    folder = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())
    machine = Machine(tmp_path)
    machine.init(dataset)
    with machine.config.open("a") as config:
        config.write(
            f'[hooks]\nbefore_snapshot = "date >{folder}/dump && test ! -e {tmp_path}/broken"\n'
            f'after_run = "cp $ZDIFFSYNC_REPORT {tmp_path}/seen"\n'
            f'[notify]\nurls = ["json://{listener.place}/"]\nhealthcheck = "http://{listener.place}/ping"\n'
        )
    assert machine.run()["hooks"] == [
        {"name": "before_snapshot", "output": "", "failure": None},
        {"name": "after_run", "output": "", "failure": None},
    ]
    assert machine.cli("ls", "latest:dump")["entries"][0]["path"] == "dump"
    seen = json.loads((tmp_path / "seen").read_text())
    assert (seen["exit_code"], seen["points"][0]["dataset"]) == (0, dataset)
    assert listener.messages() == []
    assert [path for path, _ in listener.pings()] == ["/start", ""]
    assert f"{dataset}: base" in listener.pings()[1][1]

    (tmp_path / "broken").touch()
    assert "nothing was backed up" in machine.cli("run", expect=4)["error"]
    (tmp_path / "broken").unlink()
    sh("zfs", "unmount", dataset)
    machine.cli("run", expect=3)
    sh("zfs", "mount", dataset)
    machine.run()
    titles = [message["title"].partition(": ")[2] for message in listener.messages()]
    assert titles == ["backup failed", "backup incomplete", "backups work again"]
    failed, incomplete, _ = (message["message"] for message in listener.messages())
    assert "the hook before_snapshot ended with exit code 1; nothing was backed up" in failed
    assert f"\nlast point of {dataset}: " in failed
    assert incomplete.startswith(f"not covered: {dataset} is not mounted; run zfs mount {dataset}")
    assert [path for path, _ in listener.pings()][2:] == ["/start", "/4", "/start", "/3", "/start", ""]
