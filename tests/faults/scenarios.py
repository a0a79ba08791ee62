"""The situations in which faults are tried, each made by commands without a fault.

Rule: a scenario is decided by its code alone, so that the n-th step of a kind is always the same step.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from sim_tree import LiveTree
from sim_world import Machine
from steps import Fault

ONE, TWO = "tank/one", "tank/two"
_DAY = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Scenario:
    """`prepare` makes the situation, `command` is what the fault strikes; `again` puts it right.

    No `again`: the same command does. Of the points there are before, the `kept` newest must stay. `freeing`:
    in the end the remote holds nothing that is not needed.
    """

    name: str
    prepare: Callable[[Machine], None]
    command: tuple[str, ...]
    again: tuple[tuple[str, ...], ...] = ()
    kept: int = 99
    freeing: bool = False
    late_uploads: bool = False
    bulk: bool = False

    @property
    def restoring(self) -> bool:
        """Whether the command restores."""
        return self.command[0] == "restore"


def _grow(tree: LiveTree, seed: int) -> None:
    rng = random.Random(seed)
    tree.mkdir(b"docs")
    tree.mkdir(b"docs/deep")
    tree.write(b"docs/letter", b"dear all\n" * 9)
    tree.link(b"docs/letter", b"letter too")
    tree.write(b"docs/deep/inv\xff\nname", b"odd")
    tree.write(b"image", rng.randbytes(40_000))
    tree.write(b"empty", b"")
    tree.symlink(b"link", b"docs/letter")
    tree.mkfifo(b"fifo")
    tree.socket(b"socket")
    tree.change(b"docs", xattrs=((b"trusted.colour", b"\0green"),), uid=1000)


def _work(tree: LiveTree, seed: int) -> None:
    rng = random.Random(seed)
    tree.patch(b"image", 9_000 + seed, rng.randbytes(3_000))
    tree.patch(b"image", 30_000, rng.randbytes(100))
    tree.write(b"docs/letter", b"dear all, again %d\n" % seed)
    for number in range(3):
        tree.write(b"new %d of %d" % (number, seed), rng.randbytes(5_000))
    tree.rename(b"docs/deep", b"moved %d" % seed)
    tree.mkdir(b"docs/deep")
    tree.write(b"docs/deep/inv\xff\nname", b"another %d" % seed)
    tree.change(b"docs", mode=0o700 + seed)
    if tree.find(b"link") is not None:
        tree.remove(b"link")


def pass_time(machine: Machine) -> None:
    """Let a day go by."""
    clock = machine.world.zfs.clock
    clock.tick(_DAY)
    clock.txg += 100


def work(machine: Machine, seed: int) -> None:
    """Change all datasets, and let a day go by."""
    pass_time(machine)
    for dataset in machine.world.zfs.datasets.values():
        _work(dataset.tree, seed)


def ready(machine: Machine, *command: str, fault: Fault | None = None) -> None:
    """Run a command of the preparation: it works, or breaks off at the fault."""
    ended = machine.cli(*command, fault=fault)
    assert ended.fired if fault else ended.code == 0, (command, ended)


def _begin(*names: str) -> Callable[[Machine], None]:
    def prepare(machine: Machine) -> None:
        machine.world.configure(*names)
        ready(machine, "init")
        for number, name in enumerate(names):
            _grow(machine.world.zfs.create(name), number)
            machine.world.zfs.snapshot(name, "manual")
            machine.world.zfs.snapshot(name, "other", "another repository")
        pass_time(machine)

    return prepare


def _with_base(*names: str) -> Callable[[Machine], None]:
    def prepare(machine: Machine) -> None:
        _begin(*names)(machine)
        ready(machine, "run")
        work(machine, 1)

    return prepare


def _with_points(machine: Machine) -> None:
    _with_base(ONE)(machine)
    ready(machine, "run")
    work(machine, 2)


def _broken_off(fault: str) -> Callable[[Machine], None]:
    def prepare(machine: Machine) -> None:
        _with_points(machine)
        ready(machine, "run", fault=Fault.parse(fault))
        work(machine, 3)

    return prepare


def _base_broken_off(machine: Machine) -> None:
    _with_base(ONE)(machine)
    ready(machine, "run", "--base", fault=Fault.parse("remote.upload.points#1/kill"))
    work(machine, 2)


def _without_catalog(machine: Machine) -> None:
    _with_points(machine)
    for path in machine.disk.home.glob("state/catalog*"):
        path.unlink()


def _to_restore(machine: Machine) -> None:
    _with_points(machine)
    ready(machine, "run")
    work(machine, 3)


def _in_the_way(machine: Machine) -> None:
    _to_restore(machine)
    target = machine.disk.home / "target"
    (target / "docs" / "letter").mkdir(parents=True)
    (target / "docs" / "letter" / "inside").write_text("somebody's\n")
    (target / "image").write_bytes(b"another image")
    (target / "letter too").write_bytes(b"another letter")
    (target / "moved 1").symlink_to("/nowhere")


def _with_history(machine: Machine) -> None:
    """Make two chains: one of a base and two increments, one of a base and four."""
    _to_restore(machine)
    for number in range(4, 9):
        ready(machine, "run", *(["--base"] if number == 4 else []))
        work(machine, number)


def _forgotten(machine: Machine) -> None:
    _with_history(machine)
    ready(machine, *_FORGET)


def _condemned(machine: Machine) -> None:
    _forgotten(machine)
    ready(machine, "prune")
    pass_time(machine)


def _pack_altered(machine: Machine) -> None:
    """Alter a pack of the newest point, whose snapshot is held."""
    _with_points(machine)
    before = machine.world.remote.objects.copy()
    ready(machine, "run")
    name = min(set(machine.world.remote.objects) - set(before) - {_newest_manifest(machine)})
    data = bytearray(machine.world.remote.objects[name])
    data[len(data) // 2] ^= 1
    machine.world.remote.objects[name] = bytes(data)
    pass_time(machine)


def _manifest_gone(machine: Machine) -> None:
    _with_points(machine)
    ready(machine, "run")
    del machine.world.remote.objects[_newest_manifest(machine)]
    pass_time(machine)


def _newest_manifest(machine: Machine) -> str:
    return max(name for name in machine.world.remote.objects if name.startswith("data/points/"))


_CHECK = ("check", "--read-data", "--against-source", "--restore-drill", "--sample", "4")
_REPAIR = ("repair", "--read-data")
_RUN = (("run",),)
_FORGET = ("forget", "--keep-last", "2")
_FREE = (("prune", "--now", "--max-unused", "0"),) * 2
_RESTORE = ("restore", "latest", "--to", "TARGET")

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first base", _begin(ONE), ("run",), _RUN),
        Scenario("increment", _with_points, ("run",), _RUN),
        Scenario("increment, packs at once", _with_points, ("run",), _RUN, late_uploads=True),
        Scenario("resumed increment", _broken_off("remote.upload.packs#3/kill"), ("run",), _RUN),
        Scenario("resumed base", _base_broken_off, ("run",), _RUN),
        Scenario("next base", _with_points, ("run", "--base"), _RUN),
        Scenario("two datasets", _with_base(ONE, TWO), ("run",), _RUN),
        Scenario("run without catalog", _without_catalog, ("run",), _RUN),
        Scenario("forget", _with_history, _FORGET, (_FORGET, *_RUN), kept=2),
        Scenario("condemn", _forgotten, ("prune",), (("prune",), *_RUN)),
        Scenario("prune", _condemned, ("prune",), (*_FREE, *_RUN), freeing=True),
        Scenario("prune at once", _forgotten, ("prune", "--now"), (*_FREE, *_RUN), freeing=True),
        Scenario("rewrite packs", _forgotten, _FREE[0], (*_FREE, *_RUN), freeing=True),
        Scenario("rebuild", _to_restore, ("rebuild",), (("rebuild",), *_RUN)),
        Scenario("check", _to_restore, _CHECK, (_CHECK, *_RUN)),
        Scenario("repair packs", _pack_altered, _REPAIR, (_REPAIR, _CHECK, *_RUN)),
        Scenario("repair manifests", _manifest_gone, _REPAIR, (_REPAIR, _CHECK, *_RUN), kept=0),
        Scenario("restore", _to_restore, (*_RESTORE, "--no-local")),
        Scenario("restore with snapshots", _to_restore, _RESTORE),
        Scenario("restore by restic", _to_restore, (*_RESTORE, "--no-local"), bulk=True),
        Scenario("restore over others", _in_the_way, (*_RESTORE, "--no-local", "--overwrite", "always")),
    )
}
