"""`status` on a real repository, its points written by hand: each word it has, and what a monitor is told.

The machine has no zfs, so what is known of datasets is what runs and points tell.
"""

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from zlib import crc32

import pytest
from prometheus_client.parser import text_string_to_metric_families

from setup_cache import path_with_tools
from zdiffsync.backup.tripped import Tripped
from zdiffsync.cli.context import make_app
from zdiffsync.cli.main import invoke
from zdiffsync.format.manifest import Header, ManifestWriter, ObjectRecord, PackRecord, VersionRecord
from zdiffsync.maintain.memory import CheckMemory
from zdiffsync.model.entry import Entry, EntryType
from zdiffsync.store.names import ManifestName

HOUR, DAY = 3600, 86400
PACK = "7f" * 16


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A home with a filled repository and no state."""
    home = tmp_path_factory.mktemp("home")
    tools = home / "bin"
    tools.mkdir()
    for tool in "restic", "setpriv", "env":
        found = shutil.which(tool, path=path_with_tools())
        (tools / tool).symlink_to(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tools))
        configure(home)
        assert invoke(["-c", str(home / "config.toml"), "init"]) == 0
        app = make_app(home / "config.toml", json_output=True, verbosity=-1, no_progress=True)
        with app.opened() as opened:
            commit(home, opened, "tank/good", age=HOUR, packs=3 << 20)
            commit(home, opened, "tank/old", age=3 * DAY)
            commit(home, opened, "tank/ahead", age=-DAY)
            commit(home, opened, "tank/part", age=HOUR, skipped=[("a/b", "Input/output error")])
            commit(home, opened, "pool/other", age=HOUR, host="shed")
            commit(home, opened, "pool/quiet", age=9 * DAY, host="shed")
        shutil.rmtree(home / "state")
        yield home


def configure(home, *datasets, **keys):
    (home / "password").touch(0o600)
    (home / "password").write_text("secret\n")
    keys = {"remote": f"{home}/remote", "password_file": f"{home}/password", "state_dir": f"{home}/state",
            "host": "tower", **keys}  # fmt: skip
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    lines += [f'[[dataset]]\nname = "{name}"' for name in datasets]
    (home / "config.toml").write_text("\n".join(lines) + "\n")


def commit(home, opened, dataset, *, age, host="tower", packs=0, skipped=()):
    """Put a base, and an increment where there are `packs`, on the remote; `age` in seconds."""
    made = (int(time.time()) - age) * 10**9
    guid = crc32(dataset.encode())
    based = made - bool(packs) * DAY * 10**9
    header = Header(
        opened.repository.identifier, f"{guid:016x}", 0, 0, f"{guid:016x}", dataset, guid, host,
        f"{dataset}@one", 1, 1, based, None, None, based, "0" * 16,
    )  # fmt: skip
    root = [
        ObjectRecord(1, 34, 1, b""),
        VersionRecord(1, Entry(EntryType.DIRECTORY, 0o755, 0, 0, made), None),
    ]
    write(home, opened, header, root, skipped)
    if packs:
        later = Header(
            header.repository, header.chain, 1, 1, f"{guid + 1:016x}", dataset, guid, host,
            f"{dataset}@two", 2, 2, made, 1, None, based, "0" * 16,
        )  # fmt: skip
        write(home, opened, later, [PackRecord(PACK, packs, "0" * 64)], skipped)


def write(home, opened, header, records, skipped):
    name = str(ManifestName(header.chain, header.first, header.sequence))
    path = home / "stage" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with ManifestWriter(path, header) as writer:
        for record in records:
            writer.add(record)
        writer.finish({"bytes_total": 1 << 30, "skipped": list(skipped), "skipped_paths": []})
    opened.repository.store.data.upload(home / "stage", [name], lambda _done: None)


@pytest.fixture
def tower(repository, capfd):
    """Run the command line on that machine, as JSON or as text."""

    class Tower:
        home, state = repository, repository / "state"

        def __call__(self, *arguments, expect):
            code = invoke(["-c", f"{self.home}/config.toml", "--json", *arguments])
            out, err = capfd.readouterr()
            assert (code, err) == (expect, "")
            return json.loads(out)

        def text(self, *arguments, expect):
            assert invoke(["-c", f"{self.home}/config.toml", *arguments]) == expect
            return capfd.readouterr().out

        def of(self, dataset):
            return next(each for each in self("status", expect=3)["datasets"] if each["dataset"] == dataset)

    yield Tower()
    shutil.rmtree(repository / "state", ignore_errors=True)


def test_the_age_of_the_last_point_decides_without_any_run(tower):
    configure(tower.home, "tank/good", "tank/old", "tank/ahead", "tank/part", "tank/new")
    told = tower("status", expect=3)
    states = {each["dataset"]: each["state"] for each in told["datasets"]}
    assert states == {"tank/good": "ok", "tank/old": "late", "tank/ahead": "late", "tank/part": "incomplete",
                      "tank/new": "never"}  # fmt: skip
    assert "zfs is not installed" in told["notes"][0]
    shown = tower.text("status", expect=3)
    assert "tank/old: no run is on record" in shown
    assert "tank/ahead: its last point lies in the future" in shown
    assert "tank/part: 1 file is not in the last point, the first is a/b: Input/output error" in shown
    assert "last run   none is on record" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if str(tower.home) not in line)

    configure(tower.home, "tank/old", stale_after="4d")
    assert tower("status", expect=0)["well"]
    assert tower.text("-q", "status", expect=0) == ""
    assert "tank/good" in tower.text("status", expect=0).partition("kept, and not backed up any more")[2]


def test_all_about_one_dataset(tower):
    configure(tower.home, "tank/good", "tank/old")
    [good] = tower("status", "tank/good", expect=0)["datasets"]
    assert (good["points"], good["chain_depth"], good["packed"]) == (2, 1, 3 << 20)
    assert 0 < good["next_base"]["due_ns"] - good["base_ns"] <= 30 * DAY * 10**9
    shown = tower.text("status", "tank/good", expect=0)
    assert "1 increment on it" in shown
    assert "tank/old" not in shown
    assert "backed up are tank/good, tank/old" in tower("status", "tank/none", expect=2)["error"]


def test_runs_that_fail_are_counted_and_a_broken_off_one_is_told(tower):
    configure(tower.home, "tank/good")
    for _ in range(2):
        assert tower("run", expect=4)["failed"]
    good = tower.of("tank/good")
    assert (good["state"], good["failures"], len(good["attempts"])) == ("failing", 2, 2)
    shown = tower.text("status", expect=3)
    assert "failing (2)" in shown
    assert "tank/good: failed 2 times since" in shown
    assert "exit code 4 (tool)" in shown
    (tower.home / "remote").rename(tower.home / "away")
    code = tower("run", expect=5)["exit_code"]
    told = tower("status", expect=3)
    assert (told["last_run"]["exit_code"], told["last_run"]["failures"]) == (code, 3)
    assert told["problems"] == [f"the last run broke off: {told['last_run']['error']}"]
    shutil.rmtree(tower.state)
    assert "the catalog is empty, and the remote cannot be asked" in str(tower("status", expect=3)["notes"])
    (tower.home / "away").rename(tower.home / "remote")


def test_the_tripwire_and_damage_are_never_well(tower):
    configure(tower.home, "tank/good")
    identifier = tower("kit", expect=0)["repository"]
    assert tower("status", expect=0)["checked"]["read"] == 0
    memory = CheckMemory(tower.state, identifier)
    memory.good(PACK)
    memory.save([PACK])
    assert tower("status", expect=0)["checked"]["read"] == 3 << 20
    assert "100% of packs were read back" in tower.text("status", expect=0)
    memory.bad(PACK, "is cut off")
    memory.save([PACK])
    assert "1 damaged pack; run zdiffsync repair" in tower("status", expect=3)["problems"][0]
    Tripped(tower.state).add("tank/good", "99 of 100 files were deleted", "tank/good")
    good = tower.of("tank/good")
    assert good["state"] == "tripped"
    assert good["why"].endswith("zdiffsync run --accept-changes tank/good")


RUNNING = """
import os, sys, time
from pathlib import Path
from zdiffsync.backup.session import DatasetPlan
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.run_recorder import RunRecorder
from zdiffsync.maintain.run_stage import StageFile
from zdiffsync.model.progress import silent
state = Path(sys.argv[1])
with exclusive(state / "lock", "run"), RunRecorder(state, [DatasetPlan("tank/good")], print) as recorder:
    progress = StageFile(state, os.getpid(), recorder.update).over(silent)
    with progress("uploading", 4 << 20):
        print("begun", flush=True)
        time.sleep(60)
"""


def test_a_run_is_seen_while_it_goes_on_and_after_it_was_killed(tower):
    configure(tower.home, "tank/good", "tank/old", stale_after="4d")
    tower("status", expect=0)
    with subprocess.Popen([sys.executable, "-c", RUNNING, tower.state], stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"begun\n"
        told = tower("status", expect=0)
        assert [each["running"] for each in told["datasets"]] == [True, False]
        assert told["working"]["pid"] == run.pid
        shown = " ".join(tower.text("status", expect=0).split())
        assert f"process {run.pid}; uploading 0 B of 4.0 MiB" in shown
        configure(tower.home, "tank/good", stale_after="30min")
        assert "running" in tower.text("status", expect=3)  # however long it hangs there: late is late
        run.kill()
    configure(tower.home, "tank/good")
    good = tower.of("tank/good")
    assert (good["state"], good["running"], good["failures"]) == ("failing", False, 1)
    assert "was killed" in good["why"]
    assert tower("status", expect=3)["working"] is None


def test_other_hosts_are_told_of_from_the_remote_alone(tower):
    configure(tower.home, host="office")
    found = {each["dataset"]: each for each in tower("status", "--all-hosts", expect=3)["hosts"]}
    assert {name: each["state"] for name, each in found.items() if each["host"] == "shed"} == {
        "pool/other": "ok", "pool/quiet": "late",
    }  # fmt: skip
    assert found["tank/good"]["host"] == "tower"
    assert tower("status", "--all-hosts", "pool/other", expect=0)["hosts"] == [found["pool/other"] | {
        "age_seconds": pytest.approx(found["pool/other"]["age_seconds"], abs=60)}]  # fmt: skip
    shown = tower.text("status", "--all-hosts", expect=3)
    assert shown.index("shed\n  pool/other") < shown.index("tower\n  tank/ahead")


def test_every_run_leaves_figures_for_prometheus(tower):
    path = tower.home / "metrics.prom"
    configure(tower.home, "tank/good", "tank/never", metrics_file=str(path))
    tower("run", expect=4)
    figures = {
        (sample.name.removeprefix("zdiffsync_"), sample.labels.get("dataset")): sample.value
        for family in text_string_to_metric_families(path.read_text())
        for sample in family.samples
    }
    assert figures["last_point_timestamp_seconds", "tank/good"] == pytest.approx(time.time() - HOUR, abs=300)
    assert figures["last_point_timestamp_seconds", "tank/never"] == 0
    assert figures["failures", "tank/good"] == figures["run_failures", None] == 1
    assert (figures["run_exit_code", None], figures["points", "tank/good"]) == (4, 2)
    assert path.stat().st_mode & 0o777 == 0o644
    configure(tower.home, "tank/good", metrics_file=f"{tower.home}/no/such/folder/x.prom")
    assert invoke(["-c", f"{tower.home}/config.toml", "run"]) == 4


def test_watch_leaves_the_terminal_as_it_was(tower):
    configure(tower.home, "tank/good")
    assert "draws on a terminal" in tower("status", "--watch", expect=2)["error"]
    ours, theirs = pty.openpty()
    program = "from zdiffsync.cli.main import main; main()"
    arguments = [sys.executable, "-c", program, "-c", f"{tower.home}/config.toml", "status", "--watch", "0.2"]
    with subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs) as watching:
        os.close(theirs)
        seen = b""
        while seen.count(b"last run") < 3:
            seen += os.read(ours, 1 << 16)
        watching.send_signal(signal.SIGINT)
        while not seen.endswith(b"\x1b[?25h\x1b[?1049l"):
            seen += os.read(ours, 1 << 16)
        assert watching.wait() == 0
    os.close(ours)
    assert seen.startswith(b"\x1b[?1049h\x1b[?25l")
    assert b"Traceback" not in seen
