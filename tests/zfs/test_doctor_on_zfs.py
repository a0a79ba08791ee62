"""doctor and init on real ZFS: all is well, what a user lacks, what became of datasets and snapshots."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from machine import Machine, sh

from terminal import Terminal

pytestmark = pytest.mark.zfs

PROGRAM = "from zdiffsync.cli.main import main; main()"
USER = "nobody"
READER = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def examine(machine, expect):
    """Return the findings by topic: (level, what, fix)."""
    found = machine.cli("doctor", expect=expect)["findings"]
    by_topic = {}
    for each in found:
        by_topic.setdefault(each["topic"], []).append((each["level"], each["what"], each["fix"]))
    return by_topic


def snapshots(dataset):
    return sh("zfs", "list", "-H", "-o", "name", "-t", "snapshot", "-r", dataset).split()


@pytest.fixture
def machine(tmp_path, dataset, monkeypatch):
    """A machine with a dataset and a zvol, backed up once, which cron runs."""
    monkeypatch.setattr("zdiffsync.doctor.nights._CRONTABS", (tmp_path / "crontab",))
    (tmp_path / "crontab").write_text("30 2 * * * root zdiffsync -q run\n")
    made = Machine(tmp_path)
    made.init(dataset)
    made.config.chmod(0o600)
    made.run()
    return made


def test_all_is_well_and_then_not(machine, dataset):
    before = snapshots(dataset)
    found = examine(machine, 0)
    assert {"zfs", "restic", "rclone", "fuse", "password", "space", "repository", "points"} <= found.keys()
    assert "diff, send, destroy work" in found["dataset"][0][1]
    assert snapshots(dataset) == before, "a trial leaves no snapshot"

    # Our own that nothing needs, one of a killed trial, one of another repository.
    owner = sh("zfs", "get", "-Ho", "value", "org.zdiffsync:repository", before[0]).strip()
    for label, whose in (("old", owner), ("zdiffsync-doctor-1a", "doctor"), ("theirs", "f" * 32)):
        sh("zfs", "snapshot", "-o", f"org.zdiffsync:repository={whose}", f"{dataset}@{label}")
    found = examine(machine, 3)
    assert {what.partition(",")[0] for _, what, _ in found["snapshots"]} == {
        f"{dataset}@old",
        f"{dataset}@theirs",
    }
    assert f"{dataset}@zdiffsync-doctor-1a" not in snapshots(dataset)
    for _, _, fix in found["snapshots"]:
        subprocess.run(["bash", "-c", fix], check=False, capture_output=True)
    assert snapshots(dataset) == before, "the fixes are commands that work"

    tag = sh("zfs", "holds", "-H", before[0]).split("\t")[1]
    sh("zfs", "release", tag, before[0])
    sh("zfs", "destroy", before[0])
    sh("zfs", "unmount", dataset)
    found = examine(machine, 4)
    assert any("the next run makes a base" in what for _, what, _ in found["points"])
    level, what, fix = found["dataset"][0]
    assert (level, what) == ("fail", f"{dataset} is not mounted: not covered")
    sh("bash", "-c", fix)
    assert sh("zfs", "get", "-Ho", "value", "mounted", dataset) == "yes\n"


def test_what_a_user_lacks_is_named_and_the_fix_is_right(tmp_path, dataset, monkeypatch):
    """The fix is run as root, and then the trial works; the user may read all, as in docs/permissions.md."""
    os.chmod("/dev/zfs", 0o666)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    tools = tmp_path / "tools"  # the lab's own lie in a home that no other user may enter
    tools.mkdir(0o755)
    shutil.copy(shutil.which("zfs"), tools)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin")
    machine = Machine(tmp_path)
    machine.configure(dataset)
    user = ["setpriv", f"--reuid={USER}", "--regid=nogroup", "--clear-groups", *READER]
    command = [*user, sys.executable, "-c", PROGRAM, "-c", str(machine.config), "--json", "doctor"]

    def found():
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        findings = json.loads(done.stdout)["findings"]
        return {each["topic"]: each for each in findings if each["topic"] in {"permissions", "dataset"}}

    sh("zfs", "allow", USER, "snapshot,diff", dataset)
    lacking = found()
    assert lacking["permissions"]["level"] == "fail"
    assert "userprop, hold, release, destroy, mount, send" in lacking["permissions"]["what"]
    assert "not tried" in lacking["dataset"]["what"]
    sh("bash", "-c", lacking["permissions"]["fix"].replace("$(id -un)", USER))
    well = found()
    assert well["permissions"]["level"] == well["dataset"]["level"] == "ok", well
    assert snapshots(dataset) == []
    with machine.config.open("a") as config:  # what is not needed where another tool takes them
        config.write('snapshots = "zrepl_*"\n')
    sh("zfs", "unallow", USER, "snapshot,destroy,mount", dataset)
    fewer = found()
    assert fewer["permissions"]["level"] == fewer["dataset"]["level"] == "ok", fewer
    assert "not tried" in fewer["dataset"]["what"]


def test_datasets_are_chosen_at_the_terminal(tmp_path, dataset):
    sh("zfs", "create", f"{dataset}/below")
    sh("zfs", "create", "-V", "10M", f"{dataset}/volume")
    data = Path(sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip())
    (data / "letter").write_bytes(os.urandom(1 << 20))
    sh("zpool", "sync")
    person = Terminal(
        "-c", tmp_path / "config.toml", "init", "--state-dir", tmp_path / "state", "--keep", "daily=2"
    )
    person.wait_for("a zvol: not covered")
    person.answer("Which ones?", f"{dataset}/volume")
    person.answer("block device", f"{dataset}/below, {dataset}")
    person.answer(f"below {dataset}, now 2 datasets?", "y")
    person.answer("Where to?", f"{tmp_path}/remote")
    person.wait_for("The first run reads 1.0 MiB")
    person.answer("Password file", "")
    person.wait_for(f"datasets  {dataset} and all below it\n")
    person.answer("Set it up?", "y")
    assert person.end() == 0, person.seen
    written = tomllib.loads((tmp_path / "config.toml").read_text())
    assert written["dataset"] == [{"name": dataset, "recursive": True}]
    assert written["keep"] == {"daily": 2}
