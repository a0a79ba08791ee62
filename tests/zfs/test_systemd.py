"""A night started by a real systemd, as process 1: timer, sandboxed service, journal, real ZFS.

Needs scripts/zfs-lab --systemd; on a machine with its own ZFS the units would be the machine's own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest
from machine import Machine, sh

import zdiffsync

pytestmark = pytest.mark.zfs

CHECKOUT = Path(zdiffsync.__file__).parent.parent
DROP_INS = Path("/run/systemd/system")
SERVICE, TIMER = "zdiffsync.service", "zdiffsync.timer"


def drop_in(unit: str, *lines: str) -> None:
    """Change a unit as an administrator would."""
    folder = DROP_INS / f"{unit}.d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "test.conf").write_text("\n".join(lines) + "\n")
    sh("systemctl", "daemon-reload")


def asked(name: str, unit: str = SERVICE) -> str:
    return sh("systemctl", "show", "-P", name, unit).strip()


def journal(*arguments: str) -> list[str]:
    """What the service itself has said."""
    return sh("journalctl", "-o", "cat", f"_SYSTEMD_UNIT={SERVICE}", *arguments).splitlines()


def wait_for_end() -> list[str]:
    """Wait until a run has begun and ended; return what it told of itself meanwhile."""
    said: list[str] = []
    end = monotonic() + 300
    while monotonic() < end:
        shown = sh("systemctl", "show", "--property=ActiveState,StatusText", SERVICE).splitlines()
        now = dict(line.split("=", 1) for line in shown)
        said += [now["StatusText"]] if now["StatusText"] not in {"", *said[-1:]} else []
        if said and now["ActiveState"] in {"inactive", "failed"}:
            return said
        sleep(0.3)
    raise AssertionError(f"no end within five minutes; it said {said}, and the journal {journal()}")


@pytest.fixture
def machine(dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    if not DROP_INS.parent.is_dir() or not Path("/run/zfs-lab").exists():
        pytest.fail("this test needs scripts/zfs-lab --systemd", pytrace=False)
    program = tmp_path / "bin/zdiffsync"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom zdiffsync.cli.main import main\nmain()\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    made = Machine(tmp_path)
    made.init(dataset)
    yield made
    subprocess.run(["systemctl", "stop", TIMER, SERVICE], check=False, capture_output=True)


def test_the_timer_starts_a_night_in_the_sandbox(machine: Machine, dataset: str) -> None:
    folder = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())
    (folder / "letter").write_text("dear friend")
    with machine.config.open("a") as config:
        config.write(
            f"[hooks]\nbefore_snapshot = 'echo dump >{folder}/dump; touch /etc/hooked; id -u; echo $HOME'\n"
        )
    # Only for tests: our code may lie in /tmp, which the service does not see.
    drop_in(SERVICE, "[Service]", f"BindReadOnlyPaths={CHECKOUT}", f"Environment=PYTHONPATH={CHECKOUT}")
    assert machine.cli("schedule", "install", "--at", "*-*-* 03:00")["next_ns"] > 0
    drop_in(TIMER, "[Timer]", "OnCalendar=*:*:0/5", "RandomizedDelaySec=0", "AccuracySec=100ms")
    sh("systemctl", "restart", TIMER)
    end = monotonic() + 120
    while asked("ActiveState") == "inactive" and monotonic() < end:
        sleep(0.1)
    drop_in(TIMER)  # one night is enough
    sh("systemctl", "restart", TIMER)
    said = wait_for_end()

    state = machine.cli("schedule", "status")
    assert (state["scheduled"], state["running"]) == (True, False)
    assert (state["result"], state["exit_code"]) == ("success", 0), journal()
    assert 0 < state["started_ns"] <= state["ended_ns"] < state["next_ns"]
    assert said[-1] == "ended with exit code 0"
    assert "hook before_snapshot" in said or any(each.startswith(f"{dataset}: ") for each in said), said
    hook = [line for line in journal() if line.startswith("before_snapshot: ")]
    assert hook[0].endswith("Read-only file system")
    assert [line.partition(": ")[2] for line in hook[1:]] == ["0", os.environ["HOME"]]
    assert any(line.startswith(f"{dataset}: base ") for line in journal())
    names = {entry["path"] for entry in machine.cli("ls", "latest:")["entries"]}
    assert names == {"letter", "dump"}

    # An increment, from the snapshots of both nights; and a night that is not all right.
    (folder / "letter").write_text("dear friends")
    sh("zfs", "create", f"{dataset}/child")
    sh("zfs", "unmount", f"{dataset}/child")
    machine.config.write_text(machine.config.read_text().replace("recursive = false", "recursive = true"))
    sh("systemctl", "start", SERVICE)
    wait_for_end()
    state = machine.cli("schedule", "status")
    assert (state["result"], state["exit_code"]) == ("exit-code", 3)
    assert journal("-p", "warning") == [
        f"not covered: {dataset}/child is not mounted; run zfs mount {dataset}/child"
    ]
    assert [point["kind"] for point in machine.points()] == ["base", "increment"]
    assert machine.cli("schedule", "remove")["removed"]
    assert machine.cli("schedule", "status")["scheduled"] is False
