"""Every recorded case of `zfs diff`, backed up as base and increment, and restored from both.

The cases with equal dataset options share a dataset, so that few restic calls serve all of them.
"""

import os
import re
import secrets
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from cases import all_cases
from cases_registry import Case, Place, Play
from machine import Machine, sh, snapshot_directory
from oracle import differences

pytestmark = pytest.mark.zfs

CASES = all_cases()
DATASETS = {
    name: list(cases)
    for name, cases in groupby(sorted(CASES, key=lambda case: case.dataset), lambda case: case.dataset)
}
SHARED = [name for name, cases in DATASETS.items() if not cases[0].alone]
MAPPED_OR_OPEN = (51, 52, 53, 56, 61, 62, 63)
UNCHANGED = ("created", "modified", "metadata_only", "names_added", "names_removed", "changed_bytes")


class Performance:
    """All cases on their datasets, backed up before and after their changes."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent = f"{pool}/cases-{secrets.token_hex(3)}"
        sh("zfs", "create", self.parent)
        self.root = sh("zfs", "get", "-Ho", "value", "mountpoint", self.parent).strip()
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", f"{self.parent}/restored")
        self.machine = Machine(home)
        self.plays: dict[int, Play] = {}
        self.reports: dict[tuple[str, str], dict[str, Any]] = {}
        self.compared = cache(self._compare)

    def mountpoint(self, dataset: str) -> str:
        return f"{self.root}/{DATASETS[dataset][0].mountpoint or dataset}"

    def set_up(self) -> None:
        for dataset, cases in DATASETS.items():
            options = [f"mountpoint={self.mountpoint(dataset)}", *cases[0].options]
            arguments = [word for option in options for word in ("-o", option)]
            sh("zfs", "create", *arguments, f"{self.parent}/{dataset}")
        for case in CASES:
            place = Place(os.fsencode(self.mountpoint(case.dataset)) + self.directory(case))
            if not case.alone:
                os.mkdir(place())
            self.plays[case.number] = case.play(place, f"{self.parent}/{case.dataset}")
            next(self.plays[case.number])
        sh("zfs", "snapshot", *(f"{self.parent}/{dataset}@a" for dataset in DATASETS))

    def directory(self, case: Case) -> bytes:
        """Return what leads from the root of a case's dataset to the case."""
        return b"" if case.alone else b"/" + case.label.encode()

    def change(self) -> None:
        for play in self.plays.values():
            next(play)

    def close(self) -> None:
        """Let go of everything the cases hold open."""
        for play in self.plays.values():
            play.close()

    def run(self, moment: str, *datasets: str) -> None:
        report = self.machine.run(*(f"{self.parent}/{dataset}" for dataset in datasets))
        for point in report["points"]:
            self.reports[point["dataset"].rpartition("/")[2], moment] = point

    def snapshot(self, dataset: str, moment: str) -> bytes:
        """Return the directory of the snapshot a point must equal.

        Only the last point's own snapshot still exists, and only it will do: the kernel may write a mapped
        page back between it and any other. Before the first run nothing is mapped, so @a equals the base's.
        """
        name = f"{self.parent}/{dataset}@a" if moment == "a" else self.reports[dataset, moment]["snapshot"]
        return os.fsencode(snapshot_directory(name, self.mountpoint(dataset)))

    def _compare(self, dataset: str, moment: str) -> dict[int, list[str]]:
        """Restore a point once; return the differences of every case in it, and of all of it as number 0."""
        target = Path(f"{self.root}/restored/{dataset}-{moment}")
        self.machine.restore(self.reports[dataset, moment]["point"], target)
        snapshot, restored = self.snapshot(dataset, moment), os.fsencode(target)
        found = {
            case.number: differences(snapshot + self.directory(case), restored + self.directory(case))
            for case in DATASETS[dataset]
        }
        return {0: differences(snapshot, restored), **found}


@pytest.fixture(scope="module")
def performance(pool: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Performance]:
    """All cases, played to their end, with two points each; what they hold open is still open."""
    played = Performance(pool, tmp_path_factory.mktemp("cases"))
    try:
        played.set_up()
        played.machine.init(*(f"{played.parent}/{dataset}" for dataset in DATASETS))
        played.run("a")
        played.change()
        played.run("b")
        yield played
    finally:
        played.close()
        sh("zfs", "destroy", "-R", played.parent)


def _id(case: Case) -> str:
    return f"{case.label}-{re.split('[:;,(]', case.title)[0].strip()}"


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_case_is_restored_as_it_was(performance: Performance, case: Case) -> None:
    assert performance.compared(case.dataset, "a")[case.number] == []
    assert performance.compared(case.dataset, "b")[case.number] == []
    before, after = (
        performance.snapshot(case.dataset, moment) + performance.directory(case) for moment in "ab"
    )
    assert (differences(before, after) == []) == case.quiet


@pytest.mark.parametrize("dataset", SHARED)
def test_shared_dataset_is_restored_whole(performance: Performance, dataset: str) -> None:
    assert performance.compared(dataset, "a")[0] == []
    assert performance.compared(dataset, "b")[0] == []


def test_every_increment_is_certified_and_complete(performance: Performance) -> None:
    reports = [performance.reports[dataset, "b"] for dataset in DATASETS]
    assert [report["kind"] for report in reports] == ["increment"] * len(DATASETS)
    assert [report["dataset"] for report in reports if not report["certified"]] == []
    assert [report["skipped"] for report in reports if report["skipped"]] == []
    assert [report["fallback"] for report in reports if report["fallback"]] == []


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.quiet and len(DATASETS[case.dataset]) == 1], ids=_id
)
def test_nothing_is_found_where_nothing_changed(performance: Performance, case: Case) -> None:
    report = performance.reports[case.dataset, "b"]
    assert {key: report[key] for key in UNCHANGED} == dict.fromkeys(UNCHANGED, 0)


def test_renaming_a_directory_moves_one_name_and_reads_nothing(performance: Performance) -> None:
    report = performance.reports["case05", "b"]
    assert (report["names_added"], report["names_removed"]) == (1, 1)
    assert (report["created"], report["modified"]) == (0, 0)
    assert (report["read_bytes"], report["changed_bytes"]) == (0, 0)


def test_a_change_behind_a_cut_off_path_is_found_through_the_stream(performance: Performance) -> None:
    """`zfs diff` cuts a path beyond PATH_MAX off without a word, so its rows lead nowhere."""
    misses = performance.reports["case39", "b"]["misses"]
    assert [path for path in misses if path.endswith("/leaf")]


def test_a_change_behind_a_stale_parent_is_found_through_the_stream(performance: Performance) -> None:
    assert "case74/a/f" in performance.reports["shared", "b"]["misses"]


def test_handles_closed_later_bring_nothing_back(performance: Performance) -> None:
    """What was deleted while open gets no `-` from `zfs diff`, neither then nor when it is closed."""
    datasets = sorted({case.dataset for case in CASES if case.number in MAPPED_OR_OPEN})
    for dataset in datasets:
        performance.compared(dataset, "b")  # the next run takes the snapshot of b away
    performance.close()
    performance.run("c", *datasets)
    for dataset in datasets:
        assert performance.compared(dataset, "c")[0] == []
