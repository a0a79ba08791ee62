"""The data that mounts and restores are measured on, in a repository of ours and one of restic's.

100,000 small files in one directory, 2,000 medium ones, two large images; then a night's changes: 1,000
scattered 4 KiB writes in each image, some files rewritten, one renamed directory.
Rule: both repositories hold the same two states of the same tree, behind the same rclone.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from pathlib import Path

from common import CHECKOUT, restic, say, sh

sys.path.insert(0, str(CHECKOUT / "tests"))
from mounted_world import World

MANY = 100_000
FOLDERS, EACH = 50, 40
IMAGE = 256 << 20
IMAGES = ("disk.img", "other.img")
_BLOCK = 64 << 10
_WRITES = 1000


class Sample:
    """Both repositories; `world` is ours, its two points are the base and the increment above it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.peer, self.peer_cache = home / "peer", home / "peer-cache"
        os.environ |= {
            "RESTIC_PASSWORD": "correct horse", "RESTIC_CACHE_DIR": str(self.peer_cache),
            "RESTIC_FEATURES": "device-id-for-hardlinks=true",
        }  # fmt: skip
        self._rng = random.Random(4)
        self.world = World(home / "ours")
        say("making the tree")
        self._fill()
        sh(*self.restic("init"))
        say("base, and restic's first snapshot")
        self._both(self.world.base)
        self._change()
        say("increment, and restic's second snapshot")
        changed = [f"docs/{number:02}/{number:02}" for number in range(FOLDERS - 1)] + ["many/000500"]
        self._both(lambda: self.world.increment(changed=changed, deltas=IMAGES, renamed={"docs/49": "moved"}))

    @property
    def tree(self) -> Path:
        """The tree as it is in the second point."""
        return self.world.tree

    def restic(self, *arguments: str) -> list[str]:
        """Return restic's command line for its own repository."""
        return [*restic(self.peer), *arguments]

    def cold(self) -> None:
        """Forget what either side has cached."""
        shutil.rmtree(self.world.state / "cache", ignore_errors=True)
        shutil.rmtree(self.peer_cache, ignore_errors=True)

    def _both(self, ours: object) -> None:
        assert callable(ours)
        ours()
        sh(*self.restic("backup", "-q", "--group-by", "host,tags", "."), cwd=str(self.tree))

    def _fill(self) -> None:
        (self.tree / "many").mkdir()
        for number in range(MANY):
            (self.tree / f"many/{number:06}").write_bytes(self._rng.randbytes(64))
        for folder in range(FOLDERS):
            (self.tree / f"docs/{folder:02}").mkdir(parents=True)
            for number in range(EACH):
                path = self.tree / f"docs/{folder:02}/{number:02}"
                path.write_bytes(self._data(self._rng.randrange(5_000, 50_000)))
        for name in IMAGES:
            with (self.tree / name).open("wb") as file:
                for _ in range(IMAGE // _BLOCK):
                    file.write(self._data(_BLOCK))

    def _change(self) -> None:
        for name in IMAGES:
            with (self.tree / name).open("r+b") as file:
                for _ in range(_WRITES):
                    file.seek(self._rng.randrange(IMAGE // 4096) * 4096)
                    file.write(self._rng.randbytes(4096))
        for number in range(FOLDERS - 1):
            (self.tree / f"docs/{number:02}/{number:02}").write_bytes(self._data(20_000))
        (self.tree / "many/000500").write_bytes(b"changed")
        (self.tree / "docs/49").rename(self.tree / "moved")

    def _data(self, size: int) -> bytes:
        """Return bytes of which half compress, as in most images."""
        half = self._rng.randbytes(size // 2)
        return half + half.hex().encode()[: size - size // 2]
