"""What random histories do to a simulated tree. Rule: decided by the seed and the tree alone."""

import random
import stat
from collections.abc import Callable

from sim_tree import LiveTree

NAMES = (b"a", b"b", b"c", b"d", b"new\nline", b"ta\tb", b"back\\0040slash", b" sp ", b"inv\xff\xfe", b"-rf")
SIZES = (0, 1, 100, 3_000, 15_000, 17_000, 40_000)
_DEEPEST = 3


def change(tree: LiveTree, count: int, seed: int) -> None:
    """Make up to `count` changes; what the tree has no room for is left out."""
    rng = random.Random(seed)
    for _ in range(count):
        try:
            rng.choice(_CHANGES)(tree, rng)
        except (KeyError, ValueError, IndexError):
            continue


def _directory(tree: LiveTree, rng: random.Random) -> bytes:
    every = [path for path in tree.paths(stat.S_IFDIR) if path.count(b"/") < _DEEPEST - 1]
    return rng.choice([b"", *every])


def _anywhere(tree: LiveTree, rng: random.Random) -> bytes:
    directory, name = _directory(tree, rng), rng.choice(NAMES)
    return directory + b"/" + name if directory else name


def _vacant(tree: LiveTree, rng: random.Random) -> bytes:
    path = _anywhere(tree, rng)
    if tree.find(path) is not None:
        raise ValueError(path)
    return path


def _file(tree: LiveTree, rng: random.Random) -> bytes:
    return rng.choice(tree.paths(stat.S_IFREG))


def _data(rng: random.Random) -> bytes:
    size = rng.choice(SIZES)
    return rng.randbytes(size) if rng.random() < 0.7 else b"same" * (size // 4)


def _create(tree: LiveTree, rng: random.Random) -> None:
    tree.write(_vacant(tree, rng), _data(rng))


def _rewrite(tree: LiveTree, rng: random.Random) -> None:
    tree.write(_file(tree, rng), _data(rng))


def _patch(tree: LiveTree, rng: random.Random) -> None:
    path = _file(tree, rng)
    size = len((tree.find(path) or tree.objects[0]).data)
    tree.patch(path, rng.randrange(size + 1), rng.randbytes(rng.choice((1, 100, 9_000))))


def _mkdir(tree: LiveTree, rng: random.Random) -> None:
    path = _vacant(tree, rng)
    tree.mkdir(path)
    for name in rng.sample(NAMES, 3):
        tree.write(path + b"/" + name, _data(rng))


def _special(tree: LiveTree, rng: random.Random) -> None:
    path = _vacant(tree, rng)
    rng.choice((tree.mkfifo, tree.socket, lambda at: tree.symlink(at, _anywhere(tree, rng))))(path)


def _link(tree: LiveTree, rng: random.Random) -> None:
    source = rng.choice(tree.paths(stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO))
    tree.link(source, _vacant(tree, rng))


def _remove(tree: LiveTree, rng: random.Random) -> None:
    path = rng.choice(tree.paths())
    if rng.random() < 0.3 or (tree.find(path) is not None and path not in tree.paths(stat.S_IFDIR)):
        tree.remove(path)


def _rename(tree: LiveTree, rng: random.Random) -> None:
    tree.rename(rng.choice(tree.paths()), _anywhere(tree, rng))


def _replace(tree: LiveTree, rng: random.Random) -> None:
    """Save by rename, as editors do."""
    path = _file(tree, rng)
    tree.write(b".saving", _data(rng))
    tree.rename(b".saving", path)


def _metadata(tree: LiveTree, rng: random.Random) -> None:
    tree.change(
        rng.choice([b"", *tree.paths(stat.S_IFREG, stat.S_IFDIR)]),
        **rng.choice((
            {"mode": rng.choice((0o600, 0o755, 0o4711, 0o1777, 0))}, {"uid": rng.randrange(3)},
            {"xattrs": ((b"trusted.x", rng.randbytes(rng.choice((0, 5, 900)))),)}, {"xattrs": ()},
            {"mtime_ns": rng.randrange(2**60)},
        )),
    )  # fmt: skip


_CHANGES: tuple[Callable[[LiveTree, random.Random], None], ...] = (
    _create, _create, _create, _rewrite, _patch, _patch, _mkdir, _special, _link, _remove, _rename, _rename,
    _replace, _metadata, _metadata,
)  # fmt: skip
