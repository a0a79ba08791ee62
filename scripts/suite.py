"""Runs the static checks and the tests, those marked zfs in the lab, and sums up; scripts/test is its door.

Flow: checks; one collection; groups, a lab for each file on ZFS, side by side, the longest first; the sum.
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
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree as ET

import pytest

CACHE = Path(".cache")  # in the checkout, for the lab sees that wherever it lies
DURATIONS = (Path("tests/durations.json"), CACHE / "test-durations.json")  # seconds per test of each file
AT_ONCE = 2  # groups side by side: a lab takes one core and some GiB
UNKNOWN = 30.0  # seconds: so a new file on ZFS starts early
LAB_SECONDS = 3600  # a guard against a frozen machine; single tests have limits of their own
STRICT = ("scripts/suite.py", "scripts/lab/launch.py", "scripts/lab/init.py", "scripts/benches/main.py")
CHECKS = (  # what ruff remembers of a file does not know of its neighbours, by which imports are sorted
    ("ruff", "check", "--no-cache", "."),
    ("ruff", "format", "--no-cache", "--check", "."),
    ("mypy",),
    ("mypy", "--strict", *STRICT),
    ("lint-imports",),
)


@dataclass(frozen=True, slots=True)
class Group:
    """Tests that one pytest process runs."""

    name: str
    zfs: bool
    files: list[str]
    expected: int  # tests


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
        self.tests: list[tuple[str, bool]] = []  # file, whether marked zfs
        self.places: list[str] = []  # the arguments that name files, directories or tests
        self.marks = ""  # the expression of -m
        self.broken = 0

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count modules that cannot be imported."""
        self.broken += report.failed

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the tests that the arguments select."""
        config = session.config
        self.tests = [
            (item.nodeid.partition("::")[0], item.get_closest_marker("zfs") is not None)
            for item in session.items
        ]
        self.places = config.known_args_namespace.file_or_dir
        self.marks = config.option.markexpr


class Runner:
    """Runs groups side by side; a signal ends those that run and starts no more."""

    def __init__(self, home: Path, arguments: list[str], collected: Collection, *, on_host: bool) -> None:
        self.home = home
        self.options = [argument for argument in arguments if argument not in collected.places]
        self.tests = [place for place in collected.places if "::" in place]
        self.marks = f"({collected.marks}) and " if collected.marks else ""
        self.on_host = on_host
        self.stopping = threading.Event()
        self.running: list[subprocess.Popen[bytes]] = []
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGTERM, self.stop)

    def stop(self, number: int, _frame: object) -> NoReturn:
        """End what runs, and with it this program."""
        self.stopping.set()
        for process in self.running:
            process.terminate()
        sys.exit(128 + number)

    def command(self, group: Group) -> list[str]:
        """Build the command line of a group: its files, or the tests in them that were asked for."""
        pytest_program = str(Path(sys.executable).with_name("pytest"))
        command = [pytest_program, "--no-header", "-p", "no:cacheprovider", f"--junitxml={self.junit(group)}"]
        command += [*self.options, "-m", f"{self.marks}{'' if group.zfs else 'not '}zfs"]
        for file in group.files:
            command += [test for test in self.tests if test.startswith(f"{file}::")] or [file]
        if not group.zfs:
            return command
        in_lab = ["--timeout", str(LAB_SECONDS)]
        if any("systemd" in file for file in group.files):  # which never touches this machine's own units
            return ["scripts/zfs-lab", *in_lab, "--systemd", *command]
        return ["scripts/zfs-lab", *(["--host"] if self.on_host else in_lab), *command]

    def run(self, group: Group) -> int:
        """Run one group, its lines shown as they come; its exit code."""
        if self.stopping.is_set():
            return 1
        started = time.monotonic()
        say(f"[{group.name}] {group.expected} tests")
        process = subprocess.Popen(
            self.command(group), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.running.append(process)
        if self.stopping.is_set():  # the signal came just before
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
        runner = Runner(Path(home), arguments, collected, on_host=on_host)
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
    """Make a group of each file on ZFS, the longest first; deal the others into groups as long as each other.

    A process of its own keeps a file's tests fast: in the lab, memory that pytest holds on to makes every
    process it starts dearer.
    """
    known = durations()
    on_zfs = Counter(file for file, zfs in tests if zfs)
    load = {file: known.get(file, UNKNOWN) * size for file, size in on_zfs.items()}
    groups = [
        Group(f"zfs-{Path(file).stem.removeprefix('test_')}", zfs=True, files=[file], expected=on_zfs[file])
        for file in sorted(on_zfs, key=load.__getitem__, reverse=True)
    ]
    sizes = Counter(file for file, zfs in tests if not zfs)
    load = {file: known.get(file, 1.0) * size for file, size in sizes.items()}
    hands: list[list[str]] = [[] for _ in range(min(AT_ONCE, len(sizes)))]
    for file in sorted(sizes, key=load.__getitem__, reverse=True):
        min(hands, key=lambda hand: sum(load[one] for one in hand)).append(file)
    groups += [
        Group(f"host-{number}", zfs=False, files=hand, expected=sum(sizes[file] for file in hand))
        for number, hand in enumerate(hands, 1)
    ]
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
    silent = max(group.expected - len(cases), 0)
    if silent:
        say(f"[{group.name}] {silent} tests gave no result (exit code {code})")
    total.passed += len(cases) - failed - skipped
    total.skipped += skipped
    total.failed += max(failed + silent, code != 0)
    if group.zfs:
        total.on_zfs += len(cases) - skipped
    modules = {file.removesuffix(".py").replace("/", "."): file for file in group.files}
    for case in cases:
        for module, file in modules.items():
            if f"{case.attrib['classname']}.".startswith(f"{module}."):
                total.seconds[file].append(float(case.attrib["time"]))


def durations() -> dict[str, float]:
    """Recall the seconds per test of each file, as far as they are known: here, or else to the repository."""
    known: dict[str, float] = {}
    for table in DURATIONS:
        known |= json.loads(table.read_text()) if table.exists() else {}
    return known


def remember(total: Total) -> None:
    """Keep how long the files took, for the next deal."""
    known = durations() | {file: round(sum(times) / len(times), 3) for file, times in total.seconds.items()}
    DURATIONS[-1].write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
