"""Trying faults: every step of a scenario with everything that can go wrong there, and the sum of it.

A case is a scenario and a fault: prepare, run with the fault, run again without, hold the promises. Rule: a
case is made again from its name alone.
"""

import pickle
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import promises
import sim_doors
from scenarios import SCENARIOS, Scenario, pass_time
from sim_world import Disk, Ended, Machine, World
from steps import Fault

SHARED_MEMORY = Path("/dev/shm")
_REMOTE = ("kill", "error", "hang", "down")
_UPLOAD = (
    *_REMOTE, "kill-after", "error-after", "partial", "partial-kill", "truncated", "truncated-kill",
    "altered-error", "late", "late-blind",
)  # fmt: skip
_FAULTS = {
    "disk": ("kill", "full"),
    "catalog": ("kill", "full"),
    "remote.upload.points": (*_UPLOAD, "altered"),
    "remote.upload": _UPLOAD,
    "remote.read": (*_REMOTE, "gone", "damaged", "altered"),
    "remote.delete": (*_REMOTE, "kill-after", "error-after"),
    "remote.move": (*_REMOTE, "kill-after", "error-after"),
    "remote": _REMOTE,
    "zfs.diff": ("kill", "error", "hang", "cut", "complaint"),
    "zfs.send": ("kill", "error", "hang", "cut"),
    "zfs.list": ("kill", "error", "hang"),
    "zfs": ("kill", "kill-after", "error", "error-after", "hang", "hang-after"),
    "restic.backup": ("kill", "kill-half", "kill-after", "error", "error-after", "hang"),
    "restic.restore": ("kill", "kill-half", "kill-after", "error", "half", "error-after", "hang"),
    "restic": ("kill", "kill-half", "kill-after", "error", "error-after", "hang"),
}  # fmt: skip


def faults(counts: Counter[str]) -> Iterator[Fault]:
    """Yield every fault for the steps that were counted."""
    for kind, count in sorted(counts.items()):
        for what in what_can_happen(kind):
            for number in range(1, count + 1):
                yield Fault(kind, number, what)


def what_can_happen(kind: str) -> tuple[str, ...]:
    """Return what can go wrong at steps of a kind."""
    return next(found for key, found in _FAULTS.items() if kind == key or kind.startswith(f"{key}."))


def sample(every: Sequence[Fault], seed: int) -> list[Fault]:
    """Choose of each fault at each kind of step one step."""
    groups: dict[tuple[str, str], list[Fault]] = {}
    for each in every:
        groups.setdefault((each.kind, each.what), []).append(each)
    return [random.Random(f"{seed} {kind} {what}").choice(group) for (kind, what), group in groups.items()]


@dataclass(slots=True)
class Outcome:
    """What came of one case: how the command ended, and the promises broken after the next one."""

    case: str
    ending: str
    problems: list[str] = field(default_factory=list)


class Stage:
    """Plays the cases of one scenario on a disk of its own."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._place = Path(tempfile.mkdtemp(prefix="zdiffsync-faults-", dir=SHARED_MEMORY))
        self._disk = Disk(self._place / "disk")
        self._kept = self._place / "kept"
        self._righted: dict[str, list[str]] = {}
        room = {"staging_space": "1GiB"} if scenario.late_uploads else {}
        self.machine = Machine(World(self._disk.home, **room), self._disk)
        try:
            with self._tuned():
                scenario.prepare(self.machine)
            self._keep()
        except BaseException:
            self.close()
            raise

    def _keep(self) -> None:
        """Keep what the preparation made, to begin every case with."""
        scenario = self.scenario
        self._world = pickle.dumps(self.machine.world)
        found = promises.Check(self.machine.world).found
        found.sort(key=lambda each: each.header.created_ns)
        newest = found[max(0, len(found) - scenario.kept) :]
        self._old = {each.header.guid for each in found}
        self._kept_points = {each.header.guid for each in newest}
        shutil.copytree(self._disk.home, self._kept, symlinks=True)
        self.counts = self._run(None).counts

    def close(self) -> None:
        self._disk.close()
        shutil.rmtree(self._place)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _tuned(self) -> AbstractContextManager[None]:
        return sim_doors.tuned(late_uploads=self.scenario.late_uploads, bulk=self.scenario.bulk)

    def _reset(self) -> None:
        self._disk.clear()
        shutil.copytree(self._kept, self._disk.home, symlinks=True, dirs_exist_ok=True)
        self.machine.world = pickle.loads(self._world)

    @property
    def _command(self) -> list[str]:
        target = f"{self._disk.home}/target"
        return [target if word == "TARGET" else word for word in self.scenario.command]

    def _run(self, fault: Fault | None) -> Ended:
        self._reset()
        with self._tuned():
            return self.machine.each([self._command], fault=fault)

    def play(self, fault: Fault) -> Outcome:
        """Play one case."""
        ended = self._run(fault)
        outcome = Outcome(self.case(fault), ending(ended))
        if not ended.fired:
            outcome.ending = "missed"  # a check takes samples, another one each time
            return outcome
        if str(ended.answers[-1:]).find("'error': 'bug:") >= 0:
            outcome.problems.append(f"a bug: {ended.answers} {ended.said}")
        before = promises.facts(self.machine.world)
        before.committed = self._kept_points | (before.committed - self._old)
        if before.state not in self._righted:
            self._righted[before.state] = self._put_right(before)
        outcome.problems += self._righted[before.state]
        return outcome

    def case(self, fault: Fault) -> str:
        """Name a case, as `COMMAND/SCENARIO: STEP#NUMBER/FAULT`."""
        return f"{self.scenario.command[0]}/{self.scenario.name}: {fault}"

    def _put_right(self, before: promises.Facts) -> list[str]:
        """Run the next command; return the promises that are broken then."""
        pass_time(self.machine)
        commands = self.scenario.again or (self._command,)
        with self._tuned():
            again = self.machine.each(commands, then=lambda world: self._look(world, before))
        if again.code:
            return [f"the next command failed: {again.answers} {again.said}"]
        problems: list[str] = again.answer["then"]
        return problems

    def _look(self, world: World, before: promises.Facts) -> list[str]:
        check = promises.Check(world)
        check.committed(before)
        if self.scenario.restoring:
            last = max(check.found, key=lambda each: each.header.created_ns)
            check.problems += promises.compare(world, last.header.guid, world.home / "target")
            return check.problems
        check.known()
        check.held()
        check.tidy()
        check.resumed(before)
        thorough = len(self._righted) % 8 == 0
        if self.scenario.freeing:
            check.freed()
            thorough = True
        check.restores(lambda each: thorough or each.header.guid not in self._old)
        return check.problems


def ending(ended: Ended) -> str:
    """Tell in a word how a command ended."""
    if ended.code is None:
        return "killed"
    if ended.code == 0:
        return "done"
    if ended.code == 3:
        return "incomplete"
    return "failed"


def stage(name: str) -> Stage:
    """Prepare a scenario."""
    return Stage(SCENARIOS[name])
