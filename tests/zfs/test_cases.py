"""Every recorded case of `zfs diff`, backed up as base and increment, and restored from both."""

import os
import re
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cases import all_cases
from cases_registry import HOMES, Case, Place, Play
from machine import Machine, release, sh, snapshot_directory

from oracle import differences

pytestmark = pytest.mark.zfs

CASES = all_cases()
HOLDING = ("plain", "dir")  # where cases hold files open
COUNTS = ("created", "modified", "metadata_only", "names_added", "names_removed", "changed_bytes")


class Performance:
    """All cases in their datasets, backed up before (a) and after (b) their changes."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent = f"{pool}/cases-{secrets.token_hex(3)}"
        sh("zfs", "create", self.parent)
        self.root = sh("zfs", "get", "-Ho", "value", "mountpoint", self.parent).strip()
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", f"{self.parent}/restored")
        self.machine = Machine(home)
        self.plays: dict[int, Play] = {}
        self.reports: dict[tuple[str, str], dict[str, Any]] = {}
        self.compared = cache(self._compare)

    def mountpoint(self, home: str) -> str:
        return f"{self.root}/{HOMES[home].mountpoint}"

    def set_up(self) -> None:
        for name, home in HOMES.items():
            options = [f"mountpoint={self.mountpoint(name)}", *home.options]
            sh("zfs", "create", *(word for option in options for word in ("-o", option)), self.dataset(name))
        for case in CASES:
            place = Place(os.fsencode(self.mountpoint(case.home)) + case.directory)
            if not case.at_root:
                os.mkdir(place())
            self.plays[case.number] = case.play(place, self.dataset(case.home))
            next(self.plays[case.number])
        sh("zfs", "snapshot", *(f"{self.dataset(name)}@a" for name in HOMES))

    def dataset(self, home: str) -> str:
        return f"{self.parent}/{home}"

    def change(self) -> None:
        for play in self.plays.values():
            next(play)

    def close(self) -> None:
        """Let go of everything the cases hold open."""
        for play in self.plays.values():
            play.close()

    def run(self, moment: str, *homes: str) -> None:
        report = self.machine.run(*map(self.dataset, homes))
        for point in report["points"]:
            self.reports[point["dataset"].rpartition("/")[2], moment] = point

    def snapshot(self, home: str, moment: str) -> bytes:
        """Return the directory of the snapshot a point must equal.

        Only the last point's own snapshot still exists, and only it will do: the kernel may write a mapped
        page back between it and any other. Before the first run nothing is mapped, so @a equals the base's.
        """
        name = f"{self.dataset(home)}@a" if moment == "a" else self.reports[home, moment]["snapshot"]
        return os.fsencode(snapshot_directory(name, self.mountpoint(home)))

    def _compare(self, home: str, moment: str) -> dict[int, list[str]]:
        """Restore a point once; return the differences of every case in it, and of all of it as number 0."""
        target = Path(f"{self.root}/restored/{home}-{moment}")
        self.machine.restore(self.reports[home, moment]["point"], target)
        snapshot, restored = self.snapshot(home, moment), os.fsencode(target)
        found = {0: differences(snapshot, restored)}
        for case in CASES:
            if case.home == home:
                found[case.number] = differences(snapshot + case.directory, restored + case.directory)
        return found

    def destroy(self) -> None:
        release(*sh("zfs", "list", "-Hro", "name", "-t", "snapshot", self.parent).split())
        sh("zfs", "destroy", "-R", "-f", self.parent)


@pytest.fixture(scope="module")
def performance(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Performance]:
    """All cases, played to their end, with two points each; what they hold open is still open."""
    played = Performance(pool, tmp_path_factory.mktemp("cases"))
    try:
        played.set_up()
        played.machine.init(*map(played.dataset, HOMES))
        played.run("a")
        played.change()
        played.run("b")
        yield played
    finally:
        played.close()
        played.destroy()


def _id(case: Case) -> str:
    return f"{case.label}-{re.split('[:;,(]', case.title)[0].strip()}"


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_case_is_restored_as_it_was(performance: Performance, case: Case) -> None:
    assert performance.compared(case.home, "a")[case.number] == []
    assert performance.compared(case.home, "b")[case.number] == []
    before, after = (performance.snapshot(case.home, moment) + case.directory for moment in "ab")
    assert (differences(before, after) == []) == case.quiet


@pytest.mark.parametrize("home", HOMES)
def test_dataset_is_restored_whole(performance: Performance, home: str) -> None:
    assert performance.compared(home, "a")[0] == []
    assert performance.compared(home, "b")[0] == []


def test_every_increment_is_certified_and_complete(performance: Performance) -> None:
    reports = [performance.reports[home, "b"] for home in HOMES]
    assert [report["dataset"] for report in reports if report["kind"] != "increment"] == []
    assert [report["dataset"] for report in reports if not report["certified"]] == []
    assert [report["skipped"] for report in reports if report["skipped"]] == []
    assert [report["fallback"] for report in reports if report["fallback"]] == []


def test_an_empty_dataset_has_empty_points(performance: Performance) -> None:
    report = performance.reports["empty", "b"]
    assert {key: report[key] for key in COUNTS} == dict.fromkeys(COUNTS, 0)


def test_reading_makes_nothing_and_renaming_a_directory_moves_one_name(performance: Performance) -> None:
    """Cases 2, 5 and 20 share this dataset: only the rename may show, and nothing is read for it."""
    report = performance.reports["still", "b"]
    moved = {"names_added": 1, "names_removed": 1}
    still = {"created": 0, "modified": 0, "read_bytes": 0, "changed_bytes": 0}
    assert {key: report[key] for key in moved | still} == moved | still


def test_changes_behind_a_cut_off_path_are_found_through_the_stream(performance: Performance) -> None:
    """`zfs diff` cuts a path beyond PATH_MAX off without a word, so its rows lead nowhere."""
    missed = [path for path in performance.reports["plain", "b"]["misses"] if path.startswith("case39/")]
    assert {path.rpartition("/")[2] for path in missed} == {"d" * 250, "leaf", "other"}


def test_a_file_shown_under_a_name_that_is_gone_is_found_through_the_stream(performance: Performance) -> None:
    assert "case64/keep/a" in performance.reports["plain", "b"]["misses"]


def test_handles_closed_later_bring_nothing_back(performance: Performance) -> None:
    """What was deleted while open gets no `-` from `zfs diff`, neither then nor when it is closed."""
    for home in HOLDING:
        performance.compared(home, "b")  # the next run takes the snapshot of b away
    performance.close()
    performance.run("c", *HOLDING)
    for home in HOLDING:
        assert performance.compared(home, "c")[0] == []
