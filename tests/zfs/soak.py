"""Random histories on real ZFS, processes killed, disks full: scripts/soak runs them for minutes or days.

A history: changes, commands that are struck at random moments, commands that are not, restores in between.
In the end every point that is kept comes back. Rule: all decisions follow from the seed; what moment a kill
hits does not, so a failure tells the whole history.
"""

import argparse
import ctypes
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
sys.path[:0] = [str(CHECKOUT), str(HERE.parent)]

# ruff: noqa: E402 - the checkout and the other tests' helpers are found only from here on
from history_operations import GROWING, OPERATIONS, play
from history_world import World, destroy
from machine import Machine, sh, snapshot_directory

from conftest import LAB_DISK, POOL_OPTIONS, SIZE_ON_A_FILE
from oracle import differences

_PROGRAM = "from zdiffsync.cli.main import main; main()"
_MOST_SECONDS = 900  # of one command
_TURNS = 14  # of one history
_REMOUNT, _READ_ONLY = 32, 1
_libc = ctypes.CDLL(None, use_errno=True)


class Volume:
    """A small file system in memory that can become full or read-only."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True)
        self._mount("size=1g", 0)

    def fill(self) -> None:
        state = os.statvfs(self.place)
        used, names = state.f_blocks - state.f_bfree, state.f_files - state.f_ffree
        self._mount(f"nr_blocks={used},nr_inodes={names}", _REMOUNT)

    def lock(self) -> None:
        """Let nothing be written; where a file is open for writing, let it be full instead."""
        try:
            self._mount("", _REMOUNT | _READ_ONLY)
        except OSError:
            self.fill()

    def release(self) -> None:
        self._mount("size=1g,nr_inodes=1m", _REMOUNT)

    def close(self) -> None:
        _check(_libc.umount2(os.fsencode(self.place), 2))

    def _mount(self, options: str, flags: int) -> None:
        _check(_libc.mount(b"soak", os.fsencode(self.place), b"tmpfs", flags, options.encode()))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class History:
    """One dataset with its points. `told` is all that happened; `counts` what the soak has done so far."""

    def __init__(self, parent: str, home: Path, seed: int, counts: Counter[str]) -> None:
        self.rng = random.Random(seed)
        self.counts, self.told = counts, [f"history {seed}"]
        self.parent, self.dataset = parent, f"{parent}/{secrets.token_hex(4)}"
        sh("zfs", "create", self.dataset)
        self.world = World(os.fsencode(mountpoint(self.dataset)), self.dataset)
        self.machine = Machine(home)
        self.remote, self.state = Volume(home / "remote"), Volume(home / "state")
        self.moment = 0
        self.snapshots: dict[str, int] = {}  # of a run: the moment it shows
        self.seconds = 5.0  # a command takes about
        self.kept: set[str] = set()

    def close(self) -> None:
        self.world.close()
        self.remote.close()
        self.state.close()
        with suppress(AssertionError):
            destroy(self.dataset)

    def live(self) -> None:
        """Live through it. Raises AssertionError where a promise is broken."""
        self.machine.configure(self.dataset)
        self.clean("init")
        self.change(tuple(GROWING))
        for _ in range(_TURNS):
            turn = self.rng.choices(
                (self.run, self.struck_run, self.upkeep, self.struck_restore, self.lose_catalog),
                (3, 6, 2, 2, 1),
            )[0]
            turn()
        self.run()
        self.clean("check", "--read-data")
        for point in self.points():
            self.compare(point)

    # what happens

    def change(self, names: tuple[str, ...] = tuple(OPERATIONS)) -> None:
        count = self.rng.randrange(5, 60)
        for _ in range(count):
            play(self.world, self.rng.choice(names), self.rng.getrandbits(32))
        for mapped in self.world.maps:
            mapped.flush()  # or the kernel may do it between our snapshot and the one of the run
        self.moment += 1
        sh("zfs", "snapshot", f"{self.dataset}@moment{self.moment}")
        self.told.append(f"{count} changes, moment {self.moment}")

    def run(self) -> None:
        self.change()
        before = {point["point"] for point in self.points()}
        answer = self.clean("run", *self.maybe("--base"))
        for point in answer["points"]:
            assert point["skipped"] == [], point
        after = self.points()
        assert before <= {point["point"] for point in after}, "a run has taken points away"
        self.compare(self.rng.choice(after))

    def struck_run(self) -> None:
        self.change()
        self.struck("run", *self.maybe("--base"))

    def upkeep(self) -> None:
        points = [point["point"] for point in self.points()]
        if not points:
            return
        keep = self.rng.randrange(1, 4)
        command = self.rng.choice([
            ["forget", "--keep-last", str(keep)], ["prune"], ["prune", "--now", "--max-unused", "0"],
            ["rebuild"], ["check", "--against-source"],
        ])  # fmt: skip
        if self.rng.random() < 0.6:
            self.struck(*command)
        self.clean(*command)
        left = {point["point"] for point in self.points()}
        expected = points[-keep:] if command[0] == "forget" else points
        assert set(expected) <= left, f"{command} has taken {set(expected) - left}"

    def struck_restore(self) -> None:
        points = self.points()
        if points:
            self.compare(self.rng.choice(points), struck=True)

    def lose_catalog(self) -> None:
        if not any(self.machine.home.glob("state/catalog.sqlite")):
            return
        for path in self.machine.home.glob("state/catalog.sqlite*"):
            path.unlink()
        self.told.append("the catalog is lost")

    def maybe(self, option: str) -> list[str]:
        return [option] if self.rng.random() < 0.15 else []

    # how commands are run

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _PROGRAM, "-c", str(self.machine.config), "--json", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=environment
        )

    def clean(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed; return its answer."""
        began = time.monotonic()
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=_MOST_SECONDS)
        self.told.append(f"{' '.join(arguments)}: {process.returncode}")
        self.counts["commands"] += 1
        assert process.returncode == 0, f"{arguments}: {process.returncode}\n{out.decode()}\n{err.decode()}"
        if arguments[0] == "run":
            self.seconds = time.monotonic() - began
        self.see()
        answer: dict[str, Any] = json.loads(out or b"{}")
        return answer

    def struck(self, *arguments: str) -> None:
        """Run a command that something happens to at a random moment."""
        name, strike = self.rng.choices(
            (("killed", self.kill), ("tools killed", self.kill_child),
             ("remotes full", lambda _process: self.remote.fill()),
             ("remotes read-only", lambda _process: self.remote.lock()),
             ("disks full", lambda _process: self.state.fill())),
            (3, 2, 1, 1, 1),
        )[0]  # fmt: skip
        moment = self.rng.uniform(0.0, 1.1) * self.seconds
        with self.start(*arguments) as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(moment)
            strike(process)
            out, _ = process.communicate(timeout=_MOST_SECONDS)
        self.remote.release()
        self.state.release()
        self.told.append(f"{' '.join(arguments)}: {name} at {moment:.2f} s: {process.returncode}")
        self.counts[name] += 1
        assert b'"error": "bug:' not in out, out.decode()
        self.see()

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the command; what it started ends with it."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    def kill_child(self, process: subprocess.Popen[bytes]) -> None:
        """Kill something that the command has started."""
        children = descendants(process.pid)
        if children:
            with suppress(ProcessLookupError):
                os.kill(self.rng.choice(children), signal.SIGKILL)

    def see(self) -> None:
        """Note which moment the snapshots show that runs have taken."""
        for name in sh("zfs", "list", "-Hro", "name", "-t", "snapshot", self.dataset).split():
            if "@zdiffsync-" in name:
                self.snapshots.setdefault(name, self.moment)

    def points(self) -> list[dict[str, Any]]:
        return list(self.clean("points", self.dataset)["points"]) if self.moment else []

    def compare(self, point: dict[str, Any], *, struck: bool = False) -> None:
        """Restore a point and hold it against its moment."""
        target = Path(mountpoint(f"{self.parent}/restored"), point["point"])
        command = ("restore", point["point"], "--to", str(target), *self.maybe("--no-local"))
        if struck:
            self.struck(*command)
        self.clean(*command)
        moment = self.snapshots.get(point["snapshot"], self.moment)
        found = differences(snapshot_directory(f"{self.dataset}@moment{moment}"), str(target))
        shutil.rmtree(target)
        self.counts["restores"] += 1
        assert not found, f"{point['point']}, moment {moment}:\n" + "\n".join(found[:20])


def mountpoint(dataset: str) -> str:
    return sh("zfs", "get", "-Ho", "value", "mountpoint", dataset).strip()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


@contextmanager
def pool(home: Path) -> Iterator[str]:
    """Make a pool on the lab's disk, or on a file."""
    name, device = f"soak-{secrets.token_hex(3)}", LAB_DISK
    if not LAB_DISK.exists():
        device = home / "disk"
        with device.open("wb") as file:
            file.truncate(SIZE_ON_A_FILE)
    options = (*POOL_OPTIONS, "-O", "acltype=posixacl", "-O", "xattr=sa", "-m", str(home / "pool"))
    sh("zpool", "create", *options, name, str(device))
    try:
        sh("zfs", "create", f"{name}/restored")
        yield name
    finally:
        sh("zpool", "destroy", "-f", name)


def soak(minutes: float, seed: int, say: Callable[[str], object]) -> int:
    """Live through histories until the time is over; 1 when one has broken a promise."""
    end = time.monotonic() + minutes * 60
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="zdiffsync-soak-") as place, pool(Path(place)) as name:
        while time.monotonic() < end:
            history = History(name, Path(place, secrets.token_hex(4)), seed, counts)
            try:
                history.live()
            except BaseException as error:
                say("\n".join([*history.told, f"{type(error).__name__}: {error}"]))
                say(f"again: scripts/soak {minutes:g} --seed {seed}")
                raise
            finally:
                history.close()
            counts["histories"] += 1
            seed += 1
            say(", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())))
    return 0


def main() -> int:
    """Parse, soak."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--seed", type=int, help="of the first history; the next ones count on (random)")
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    say(f"seed {seed}")
    return soak(options.minutes, seed, say)


if __name__ == "__main__":
    sys.exit(main())
