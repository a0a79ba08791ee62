"""The simulated world: pools, a remote, this machine's disk, and the real command line run in it.

Each command runs in a process of its own, forked: so a kill is a kill, and a full disk is a full disk.
Rule: what happens outside is kept by the world, what happens on the disk by the disk, and nothing else stays.
"""

import ctypes
import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sim
from sim_remote import SimRemote
from sim_zfs import SimZfs
from steps import Fault, Steps

from zdiffsync.cli.main import invoke

_MOST_SECONDS = 60
_REMOUNT = 32
_BROKEN = 98  # the exit code of a process in which this file itself failed
_libc = ctypes.CDLL(None, use_errno=True)


class World:
    """All that outlives a process. `place` is where the disk is mounted; `settings` are configured."""

    def __init__(self, place: Path, **settings: Any) -> None:
        self.home = place
        self.zfs = SimZfs()
        self.remote = SimRemote()
        self.settings = settings
        self._drawn = 0

    def draw(self, count: int) -> bytes:
        """Return random bytes, the same ones in the same history, and never any twice."""
        self._drawn += 1
        return hashlib.shake_256(b"%d" % self._drawn).digest(count)

    def configure(self, *datasets: str, **more: Any) -> None:
        """Write the configuration."""
        keys = {
            "remote": "/sim/remote", "password_file": f"{self.home}/password", "host": "machine",
            "state_dir": f"{self.home}/state", "pack_size": "8KiB", "large_file": "16KiB",
            "staging_space": 1, "transfers": 1, "upload_rate": "1GiB", "base_when_increments_exceed": 100.0,
            **self.settings, **more,
        }  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
        for name in datasets:
            lines += ["[[dataset]]", f"name = {json.dumps(name)}"]
        (self.home / "config.toml").write_text("\n".join(lines) + "\n")
        password = self.home / "password"
        if not password.exists():
            password.write_text("correct horse\n")
            password.chmod(0o600)


@dataclass(slots=True)
class Ended:
    """How a process ended: `code` its exit code, None when it was killed; `answers` what it printed."""

    code: int | None
    answers: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    fired: bool = False
    said: str = ""

    @property
    def answer(self) -> dict[str, Any]:
        return self.answers[-1]


class Disk:
    """A small file system of its own, so that it can be full, copied and put back."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self._mount("size=64m", 0)

    def fill(self) -> None:
        """Leave no room, neither for bytes nor for files."""
        state = os.statvfs(self.home)
        used, names = state.f_blocks - state.f_bfree, state.f_files - state.f_ffree
        self._mount(f"nr_blocks={used},nr_inodes={names}", _REMOUNT)

    def make_room(self) -> None:
        self._mount("size=64m,nr_inodes=100k", _REMOUNT)

    def clear(self) -> None:
        for each in self.home.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()

    def close(self) -> None:
        _check(_libc.umount2(os.fsencode(self.home), 2))
        self.home.rmdir()

    def _mount(self, options: str, flags: int) -> None:
        _check(_libc.mount(b"tmpfs", os.fsencode(self.home), b"tmpfs", flags, options.encode()))


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class Machine:
    """Runs commands in a world. One at a time; `world` is what it has become."""

    def __init__(self, world: World, disk: Disk) -> None:
        self.world, self.disk = world, disk

    def cli(self, *arguments: str, fault: Fault | None = None) -> Ended:
        """Run one command."""
        return self.each([arguments], fault=fault)

    def each(
        self,
        commands: Sequence[Sequence[str]],
        *,
        fault: Fault | None = None,
        then: Callable[[World], Any] | None = None,
    ) -> Ended:
        """Run commands one after the other in one process, up to the first that fails; `then` may look."""
        if fault is None or "kill" not in fault.what:
            return self._here(commands, fault, then)
        out, result = os.pipe()
        child = os.fork()
        if not child:
            os.close(out)
            try:
                self._child(result, commands, fault, then)
            finally:
                os._exit(99)
        os.close(result)
        with open(out, "rb") as stream:
            data = stream.read()
        _, status = os.waitpid(child, 0)
        if not data:
            raise AssertionError(f"a process ended with {status} and told nothing: {commands} {fault}")
        self.world, ended = pickle.loads(data)
        if ended.code is None and os.WTERMSIG(status) != signal.SIGKILL:
            raise AssertionError(f"status {status} of {commands} {fault}")
        if ended.code == _BROKEN:
            raise AssertionError(f"{commands} {fault}\n{ended.said}")
        return ended

    def _here(
        self,
        commands: Sequence[Sequence[str]],
        fault: Fault | None,
        then: Callable[[World], Any] | None,
    ) -> Ended:
        """Run commands in this very process: with nothing to kill that is the same, and sooner done."""
        ended = Ended(None)
        steps = Steps(fault, lambda: None, self.disk.fill)
        self._carry_out(steps, ended, commands, then)
        ended.counts, ended.fired = steps.counts, steps.fired
        return ended

    def _child(
        self,
        result: int,
        commands: Sequence[Sequence[str]],
        fault: Fault | None,
        then: Callable[[World], Any] | None,
    ) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_MOST_SECONDS)
        ended = Ended(None)

        def tell() -> None:
            ended.counts, ended.fired = steps.counts, steps.fired
            with steps.outside(), open(result, "wb", closefd=False) as stream:
                pickle.dump((self.world, ended), stream, protocol=5)

        steps = Steps(fault, tell, self.disk.fill)
        try:
            self._carry_out(steps, ended, commands, then)
        except BaseException:  # noqa: BLE001 - told to the parent
            ended.code, ended.said = _BROKEN, traceback.format_exc()
        tell()
        os._exit(0)

    def _carry_out(
        self,
        steps: Steps,
        ended: Ended,
        commands: Sequence[Sequence[str]],
        then: Callable[[World], Any] | None,
    ) -> None:
        sim.enter(self.world, steps)
        temporary = self.world.home / "tmp"
        temporary.mkdir(exist_ok=True)
        tempfile.tempdir = str(temporary)
        out, err = io.StringIO(), io.StringIO()
        try:
            with steps.watching(str(self.world.home)), redirect_stdout(out), redirect_stderr(err):
                ended.code = 0
                for arguments in commands:
                    ended.code = None
                    code = invoke(["-v", "-c", f"{self.world.home}/config.toml", "--json", *arguments])
                    ended.answers.append(json.loads(out.getvalue() or "{}"))
                    ended.code = code
                    out.seek(out.truncate(0))
                    if code:
                        break
            ended.said = err.getvalue()
            self.disk.make_room()
            if then is not None and not ended.code:
                ended.answers.append({"then": then(self.world)})
        finally:
            tempfile.tempdir = None
