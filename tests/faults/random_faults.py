"""Random histories in the simulated world: changes, runs, restores, and faults at any step of them.

Rule: after every undisturbed command all promises hold, and in the end every point comes back.
"""

import shutil
import tempfile
from pathlib import Path

import promises
import sim_changes
from campaign import SHARED_MEMORY, Outcome, ending, what_can_happen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from scenarios import pass_time
from sim_world import Disk, Machine, World
from steps import Fault

KINDS = (
    "disk.open", "disk.mkdir", "disk.rename", "disk.remove", "disk.meta", "catalog.begin", "catalog.commit",
    "remote.list.points", "remote.size.points", "remote.read.points", "remote.upload.points",
    "remote.size.packs", "remote.upload.packs", "remote.read.packs", "remote.read.restic", "remote.read.mark",
    "restic.backup", "zfs.list", "zfs.snapshot", "zfs.hold", "zfs.release", "zfs.destroy", "zfs.diff",
    "zfs.send",
)  # fmt: skip
NAMES = ("tank/one", "tank/two")
_MOST_POINTS = 6  # of each dataset
CHANGES = st.tuples(st.integers(1, 25), st.integers(0, 2**32 - 1))


@st.composite
def faults(draw) -> Fault:
    kind = draw(st.sampled_from(KINDS))
    what = draw(st.sampled_from(what_can_happen(kind)))
    return Fault(kind, draw(st.integers(1, 6) | st.integers(1, 40)), what)


class RandomFaults(RuleBasedStateMachine):
    """Two datasets, one repository; `outcomes` gathers what came of all faults of all histories."""

    outcomes: list[Outcome]

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="zdiffsync-faults-", dir=SHARED_MEMORY))
        self.disk = Disk(self.place / "disk")
        self.machine = Machine(World(self.disk.home), self.disk)
        self.runs = 0
        self.before = promises.Facts()
        self.sound = True

    @initialize(one=CHANGES, two=CHANGES)
    def begin(self, one: tuple[int, int], two: tuple[int, int]) -> None:
        self.machine.world.configure(*NAMES)
        assert self.machine.cli("init").code == 0
        for name, changes in zip(NAMES, (one, two), strict=True):
            self.machine.world.zfs.create(name)
            self.machine.world.zfs.snapshot(name, "manual")
            self.machine.world.zfs.snapshot(name, "other", "another repository")
            self.change(name, changes)

    @rule(name=st.sampled_from(NAMES), changes=CHANGES)
    def change(self, name: str, changes: tuple[int, int]) -> None:
        sim_changes.change(self.machine.world.zfs.datasets[name].tree, *changes)

    @precondition(lambda self: self.runs < _MOST_POINTS)
    @rule(base=st.booleans())
    def run(self, base: bool) -> None:
        self.attempt("run", *(["--base"] if base else []))

    @precondition(lambda self: self.runs < _MOST_POINTS)
    @rule(fault=faults(), base=st.booleans())
    def run_with_fault(self, fault: Fault, base: bool) -> None:
        self.attempt("run", *(["--base"] if base else []), fault=fault)

    @rule(fault=faults(), number=st.integers(0, 10), local=st.booleans())
    def restore_with_fault(self, fault: Fault, number: int, local: bool) -> None:
        """Break a restore off, go on with it, and hold the tree against its snapshot."""
        answer = self.machine.cli("points")
        if answer.code or not answer.answer["points"]:
            return
        points = answer.answer["points"]
        point = points[number % len(points)]
        header = next(
            each.header for each in self.look(lambda world: promises.Check(world).found)
            if each.header.point == point["point"]
        )  # fmt: skip
        target = self.disk.home / "target"
        command = ["restore", point["point"], "--to", str(target), *([] if local else ["--no-local"])]
        ended = self.machine.each([command], fault=fault)
        self.note(f"random/restore: {fault}", ended)
        again = self.machine.each([command], then=lambda world: promises.compare(world, header.guid, target))
        assert again.code == 0, again
        assert again.answer["then"] == [], (fault, again.answer["then"])
        shutil.rmtree(target)

    @precondition(lambda self: self.sound)
    @rule()
    def lose_catalog(self) -> None:
        for path in self.disk.home.glob("state/catalog*"):
            path.unlink()
        self.before.unfinished.clear()

    def attempt(self, *command: str, fault: Fault | None = None) -> None:
        pass_time(self.machine)
        self.runs += 1
        check = None if fault else self.check
        ended = self.machine.each([command], fault=fault, then=check)
        if fault:
            self.note(f"random/run: {fault}", ended)
            self.sound = False
        else:
            assert ended.code == 0, ended
            assert ended.answer["then"] == [], ended.answer["then"]
            self.sound = True
        facts = promises.facts(self.machine.world)
        facts.committed |= self.before.committed
        self.before = facts

    def check(self, world: World) -> list[str]:
        check = promises.Check(world)
        check.committed(self.before)
        check.known()
        check.held()
        check.tidy()
        check.resumed(self.before)
        return check.problems

    def look(self, what):
        return self.machine.each([], then=what).answer["then"]

    def note(self, case: str, ended) -> None:
        if ended.fired:
            self.outcomes.append(Outcome(case, ending(ended)))
        text = str(ended.answers)
        assert "'error': 'bug:" not in text, (case, ended)

    def teardown(self) -> None:
        try:
            if self.machine.world.zfs.datasets:
                self.attempt("run")
                assert self.look(self.restores) == []
        finally:
            self.disk.close()
            shutil.rmtree(self.place)

    def restores(self, world: World) -> list[str]:
        check = promises.Check(world)
        check.restores()
        return check.problems
