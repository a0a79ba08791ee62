"""Runs the static checks and the tests, those marked zfs in the lab, and sums up; scripts/test is its door.

Flow: checks; one collection; test files dealt into groups by their durations; groups side by side; the sum.
Rule: the last line counts everything that was meant to run: what gave no result has failed.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree as ET

import pytest

CACHE = Path(".cache")  # in the checkout, for the lab sees that wherever it lies
DURATIONS = CACHE / "test-durations.json"  # seconds per test of each file
AT_ONCE = 2  # groups side by side: a lab takes one core and some GiB
LAB_SECONDS = 3600  # a guard against a frozen machine; single tests have limits of their own
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("mypy", "--strict", "scripts/suite.py", "scripts/lab/launch.py", "scripts/lab/init.py"),
    ("lint-imports",),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that one pytest process runs."""

    name: str
    zfs: bool
    tests: list[str]  # pytest's node ids


@dataclass(slots=True)
class Total:
    """What came out, over all parts."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    on_zfs: int = 0
    versions: set[str] = field(default_factory=set)  # of OpenZFS
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # by file


class Collection:
    """A pytest plug-in that remembers what pytest would run."""

    def __init__(self) -> None:
        self.tests: list[tuple[str, bool]] = []  # node id, whether marked zfs
        self.paths: list[str] = []  # the arguments that select tests by their place
        self.broken = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count modules that cannot be imported."""
        self.broken += report.failed

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests that the arguments select."""
        self.tests = [(item.nodeid, item.get_closest_marker("zfs") is not None) for item in session.items]
        self.paths = session.config.known_args_namespace.file_or_dir


class Runner:
    """Runs groups side by side; a signal ends those that run and starts no more."""

    def __init__(self, home: Path, options: list[str], on_host: bool) -> None:
        self.home = home
        self.options = options
        self.on_host = on_host
        self.stopping = False
        self.running: list[subprocess.Popen[bytes]] = []
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, number: int, _frame: object) -> NoReturn:
        """End what runs, and with it this program."""
        self.stopping = True
        for process in self.running:
            process.terminate()
        sys.exit(128 + number)

    def run(self, group: Group) -> int:
        """Run one group, its lines shown as they come; its exit code."""
        if self.stopping:
            return 1
        tests = self.home / f"{group.name}.tests"
        tests.write_text("\n".join(group.tests) + "\n")
        command = [str(Path(sys.executable).with_name("pytest")), "--no-header", *self.options, f"@{tests}"]
        command += ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={self.junit(group)}"]
        if group.zfs:
            place = ["--host"] if self.on_host else ["--timeout", str(LAB_SECONDS)]
            command = ["scripts/zfs-lab", *place, *command]
        started = time.monotonic()
        say(f"[{group.name}] {len(group.tests)} tests")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.running.append(process)
        if self.stopping:  # the signal came just before
            process.terminate()
        assert process.stdout is not None
        for line in process.stdout:
            say(f"[{group.name}] {line.decode(errors='replace').rstrip()}")
        code = process.wait()
        self.running.remove(process)
        say(f"[{group.name}] ended with exit code {code} after {time.monotonic() - started:.0f} s")
        return code

    def junit(self, group: Group) -> Path:
        """Name the file of a group's results."""
        return self.home / f"{group.name}.xml"


def main(arguments: list[str]) -> int:
    """Run all parts; 0 when everything passed and, unless tests were selected, ZFS was really used."""
    on_host = "--host" in arguments
    arguments = [argument for argument in arguments if argument != "--host"]
    failed_checks = [" ".join(check) for check in CHECKS if not passes(check)]
    collected = collect(arguments)
    groups = deal(collected.tests)
    total = Total(failed=len(failed_checks) + collected.broken)
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.resolve(), prefix="tests-") as home:
        options = [argument for argument in arguments if argument not in collected.paths]
        runner = Runner(Path(home), options, on_host)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            codes = list(pool.map(runner.run, groups))
        for group, code in zip(groups, codes, strict=True):
            count(group, code, runner.junit(group), total)
    remember(total)
    place = "on this machine" if on_host else "in the lab"
    say(f"\n{len(collected.tests)} tests, {total.skipped} skipped")
    say(f"{total.on_zfs} tests on real ZFS (OpenZFS {', '.join(sorted(total.versions)) or 'none'} {place})")
    for check in failed_checks:
        say(f"FAILED: {check}")
    zfs_missing = not arguments and not total.on_zfs
    if zfs_missing:
        say("FAILED: no test ran on real ZFS")
    say(f"{total.passed} passed, {total.failed + zfs_missing} failed")
    return 1 if total.failed or zfs_missing else 0


def say(line: str) -> None:
    """Print a line, whole even when several threads speak."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def passes(check: tuple[str, ...]) -> bool:
    """Run one static check, its output shown when it fails."""
    started = time.monotonic()
    done = subprocess.run(check, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    good = done.returncode == 0
    if not good:
        say(done.stdout)
    say(f"{' '.join(check)}: {'ok' if good else 'FAILED'} ({time.monotonic() - started:.1f} s)")
    return good


def collect(arguments: list[str]) -> Collection:
    """Ask pytest what these arguments select."""
    collected = Collection()
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main(
            ["--collect-only", "-q", "--continue-on-collection-errors", *arguments], [collected]
        )
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        say(output.getvalue())
        collected.broken = max(collected.broken, 1)
    return collected


def deal(tests: list[tuple[str, bool]]) -> list[Group]:
    """Deal the files, the longest first, each to the group with the least to do; groups on ZFS first."""
    known: dict[str, float] = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    groups = []
    for zfs, name in ((True, "zfs"), (False, "host")):
        files: dict[str, list[str]] = defaultdict(list)
        for test, marked in tests:
            if marked is zfs:
                files[test.partition("::")[0]].append(test)
        load = {file: known.get(file, 1.0) * len(ids) for file, ids in files.items()}
        hands: list[list[str]] = [[] for _ in range(min(AT_ONCE, len(files)))]
        for file in sorted(files, key=load.__getitem__, reverse=True):
            min(hands, key=lambda hand: sum(load[one] for one in hand)).append(file)
        for number, hand in enumerate(hands, 1):
            groups.append(Group(f"{name}-{number}", zfs, [test for file in hand for test in files[file]]))
    return groups


def count(group: Group, code: int, junit: Path, total: Total) -> None:
    """Add a group's results to the sum."""
    cases = []
    if junit.exists():
        root = ET.parse(junit).getroot()  # noqa: S314 - pytest wrote it a moment ago
        cases = list(root.iter("testcase"))
        total.versions |= {
            one.attrib["value"] for one in root.iter("property") if one.get("name") == "openzfs"
        }
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skipped = sum(case.find("skipped") is not None for case in cases)
    silent = max(len(group.tests) - len(cases), 0)
    if silent:
        say(f"[{group.name}] {silent} tests gave no result (exit code {code})")
    total.passed += len(cases) - failed - skipped
    total.skipped += skipped
    total.failed += max(failed + silent, code != 0)
    if group.zfs:
        total.on_zfs += len(cases) - skipped
    for case in cases:
        total.seconds[case.attrib["file"]].append(float(case.attrib["time"]))


def remember(total: Total) -> None:
    """Keep how long the files took, for the next deal."""
    known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    known |= {file: round(sum(times) / len(times), 3) for file, times in total.seconds.items()}
    DURATIONS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
