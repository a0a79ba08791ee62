"""The changes random histories are made of. Each is one thing people and programs do to a tree."""

import errno
import mmap
import os
import shutil
import stat
import struct
from collections.abc import Callable

from history_world import NothingThereError, Turn, World, exchange, punch
from machine import sh

Operation = Callable[[World, Turn], None]

OPERATIONS: dict[str, Operation] = {}
GROWING = (
    "create",
    "create_more",
    "mkdir",
    "mkdir_with_files",
    "mkdir_with_files",
    "symlink",
    "link",
    "copy",
)
_REFUSED = {
    errno.EBUSY, errno.EEXIST, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENOENT, errno.ENOTDIR,
    errno.ENOTEMPTY, errno.EPERM, errno.EXDEV,
}  # fmt: skip
_MOST_OPEN = 4


def play(world: World, name: str, seed: int) -> None:
    """Make one change; what the tree has no room for, or the kernel refuses, is left out."""
    try:
        OPERATIONS[name](world, Turn(world, seed))
    except NothingThereError:
        return
    except OSError as error:
        if error.errno not in _REFUSED:
            raise


def operation(change: Operation) -> Operation:
    OPERATIONS[change.__name__] = change
    return change


def _write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


@operation
def create(world: World, turn: Turn) -> None:
    _write(world(turn.vacant()), turn.data())


@operation
def create_more(world: World, turn: Turn) -> None:
    directory = turn.directory()
    for _ in range(3):
        path = turn.within(directory)
        if not os.path.lexists(world(path)):
            _write(world(path), turn.data())


@operation
def overwrite(world: World, turn: Turn) -> None:
    path = turn.file()
    start, length = turn.span(path)
    with open(world(path), "r+b") as file:
        file.seek(start)
        file.write(turn.rng.randbytes(length))


@operation
def append(world: World, turn: Turn) -> None:
    with open(world(turn.file()), "ab") as file:
        file.write(turn.data())


@operation
def insert(world: World, turn: Turn) -> None:
    path = turn.content()
    start, length = turn.span(path)
    with open(world(path), "r+b") as file:
        data = file.read()
        file.seek(start)
        file.write(turn.rng.randbytes(length) + data[start:])


@operation
def truncate(world: World, turn: Turn) -> None:
    os.truncate(world(turn.file()), turn.rng.choice((0, 1, 5_000, 50_000, 300_000, 3 << 20)))


@operation
def hole(world: World, turn: Turn) -> None:
    path = turn.content()
    punch(world(path), *turn.span(path))


@operation
def rewrite_the_same(world: World, turn: Turn) -> None:
    path = world(turn.content())
    with open(path, "r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data)


@operation
def change_keeping_time(world: World, turn: Turn) -> None:
    path = world(turn.content())
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.write(turn.rng.randbytes(1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@operation
def save_by_rename(world: World, turn: Turn) -> None:
    path = turn.file()
    world.losing(path)
    _write(world(path + b".tmp" if len(path) < 200 else b".tmp"), turn.data())
    os.rename(world(path + b".tmp" if len(path) < 200 else b".tmp"), world(path))


@operation
def copy(world: World, turn: Turn) -> None:
    source = turn.file()
    shutil.copyfile(world(source), world(turn.vacant()))


def _move(world: World, source: bytes, target: bytes) -> None:
    if source == target or (target + b"/").startswith(source + b"/"):
        raise NothingThereError
    world.losing(target)
    os.rename(world(source), world(target))


@operation
def rename(world: World, turn: Turn) -> None:
    _move(world, turn.pick(), turn.anywhere())


@operation
def rename_directory(world: World, turn: Turn) -> None:
    _move(world, turn.pick(stat.S_IFDIR), turn.vacant())


@operation
def move_over(world: World, turn: Turn) -> None:
    _move(world, turn.file(), turn.file())


def _unrelated(turn: Turn, *kinds: int) -> tuple[bytes, bytes]:
    one, other = turn.pick(*kinds), turn.pick(*kinds)
    if one == other or one.startswith(other + b"/") or other.startswith(one + b"/"):
        raise NothingThereError
    return one, other


@operation
def swap(world: World, turn: Turn) -> None:
    one, other = _unrelated(turn)
    os.rename(world(one), world(b".swap"))
    os.rename(world(other), world(one))
    os.rename(world(b".swap"), world(other))


@operation
def swap_directories(world: World, turn: Turn) -> None:
    one, other = _unrelated(turn, stat.S_IFDIR)
    exchange(world(one), world(other))


@operation
def swap_at_once(world: World, turn: Turn) -> None:
    one, other = _unrelated(turn)
    exchange(world(one), world(other))


@operation
def turn_inside_out(world: World, turn: Turn) -> None:
    """Make a directory the child of its own child."""
    child = turn.pick(stat.S_IFDIR)
    parent = child.rpartition(b"/")[0]
    if not parent:
        raise NothingThereError
    os.rename(world(child), world(b".out"))
    os.rename(world(parent), world(b".out/in"))
    os.rename(world(b".out"), world(parent))


@operation
def link(world: World, turn: Turn) -> None:
    source = turn.pick(stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)
    os.link(world(source), world(turn.vacant()), follow_symlinks=False)


@operation
def link_again(world: World, turn: Turn) -> None:
    os.link(world(turn.file()), world(turn.vacant()))


@operation
def unlink(world: World, turn: Turn) -> None:
    world.remove(turn.file())


@operation
def unlink_open(world: World, turn: Turn) -> None:
    path = turn.file()
    if len(world.handles) < _MOST_OPEN:
        world.hold(path)
    world.remove(path)


@operation
def write_open(world: World, turn: Turn) -> None:
    """Write to a file somebody has open; it may have no name any more."""
    if not world.handles:
        world.hold(turn.file())
    turn.rng.choice(world.handles).write(turn.data())


@operation
def close_open(world: World, turn: Turn) -> None:
    if world.handles:
        world.handles.pop(turn.rng.randrange(len(world.handles))).close()


@operation
def symlink(world: World, turn: Turn) -> None:
    os.symlink(turn.anywhere(), world(turn.vacant()))


@operation
def special(world: World, turn: Turn) -> None:
    kind = turn.rng.choice((stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK))
    os.mknod(world(turn.vacant()), kind | 0o640, os.makedev(1, turn.rng.randrange(9)))


@operation
def chmod(world: World, turn: Turn) -> None:
    path = turn.pick(stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO)
    os.chmod(world(path), turn.rng.choice((0o600, 0o755, 0o4711, 0o1777, 0o000, 0o2750)))


@operation
def chmod_root(world: World, turn: Turn) -> None:
    os.chmod(world(b""), turn.rng.choice((0o700, 0o755)))


@operation
def chown(world: World, turn: Turn) -> None:
    os.lchown(world(turn.pick()), turn.rng.randrange(5), turn.rng.randrange(70_000))


@operation
def utime(world: World, turn: Turn) -> None:
    times = turn.rng.randrange(2**60), turn.rng.randrange(2**60)
    os.utime(world(turn.pick()), ns=times, follow_symlinks=False)


def _attribute(turn: Turn) -> tuple[bytes, str]:
    path = turn.pick(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)
    kind = "trusted" if os.path.islink(turn.world(path)) else turn.rng.choice(("user", "trusted"))
    return path, f"{kind}.{turn.rng.choice('xyz')}"


@operation
def set_attribute(world: World, turn: Turn) -> None:
    path, key = _attribute(turn)
    value = turn.rng.randbytes(turn.rng.choice((0, 1, 30, 3_000)))
    os.setxattr(world(path), key, value, follow_symlinks=False)


@operation
def remove_attribute(world: World, turn: Turn) -> None:
    path, _ = _attribute(turn)
    keys = os.listxattr(world(path), follow_symlinks=False)
    if keys:
        os.removexattr(world(path), turn.rng.choice(sorted(keys)), follow_symlinks=False)


_ACL_ENTRIES = ((0x01, 7), (0x04, 5), (0x10, 7), (0x20, 1))  # owner, group, mask, others: tag and rwx bits
_ACL_USER = 0x02
_NOBODY = 0xFFFFFFFF


@operation
def set_acl(world: World, turn: Turn) -> None:
    """Give one user rights of their own, as setfacl does (linux/posix_acl_xattr.h)."""
    path = turn.pick(stat.S_IFREG, stat.S_IFDIR)
    entries = [(tag, bits, _NOBODY) for tag, bits in _ACL_ENTRIES]
    entries.insert(1, (_ACL_USER, turn.rng.randrange(8), turn.rng.randrange(1000, 1010)))
    default = os.path.isdir(world(path)) and turn.rng.random() < 0.5
    value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    os.setxattr(world(path), f"system.posix_acl_{'default' if default else 'access'}", value)


@operation
def mkdir(world: World, turn: Turn) -> None:
    os.mkdir(world(turn.vacant()))


@operation
def mkdir_with_files(world: World, turn: Turn) -> None:
    path = turn.vacant()
    os.mkdir(world(path))
    for _ in range(3):
        _write(world(turn.within(path)), turn.data())


@operation
def rmdir(world: World, turn: Turn) -> None:
    os.rmdir(world(turn.pick(stat.S_IFDIR)))


@operation
def remove_tree(world: World, turn: Turn) -> None:
    if turn.rng.random() < 0.4:
        world.remove(turn.pick(stat.S_IFDIR))


@operation
def replace_type(world: World, turn: Turn) -> None:
    path = turn.pick()
    kind = turn.rng.choice((stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO))
    if len(world.paths()) > 10 and os.path.isdir(world(path)) and turn.rng.random() < 0.7:
        raise NothingThereError
    world.remove(path)
    if kind == stat.S_IFDIR:
        os.mkdir(world(path))
    elif kind == stat.S_IFLNK:
        os.symlink(b"elsewhere", world(path))
    elif kind == stat.S_IFIFO:
        os.mkfifo(world(path))
    else:
        _write(world(path), turn.data())


@operation
def replace_the_same(world: World, turn: Turn) -> None:
    """Remove a file and make it again, equal in all but its object number."""
    path = world(turn.file())
    with open(path, "rb") as file:
        data = file.read()
    world.losing(os.path.relpath(path, world.root))
    os.unlink(path)
    _write(path, data)


@operation
def stale_parent(world: World, turn: Turn) -> None:
    """Leave a file whose own idea of its parent is wrong, and change it."""
    path, other = turn.file(), turn.vacant()
    os.link(world(path), world(other))
    world.stale.add(os.lstat(world(path)).st_ino)
    os.unlink(world(other))
    with open(world(path), "ab") as file:
        file.write(turn.rng.randbytes(10))


@operation
def map_and_store(world: World, turn: Turn) -> None:
    """Store into a mapped file; the kernel writes it back when it likes."""
    if len(world.maps) >= _MOST_OPEN:
        world.maps.pop(0).close()
    path = world(turn.content())
    with open(path, "r+b") as file:
        world.mapped.add(os.fstat(file.fileno()).st_ino)
        mapped = mmap.mmap(file.fileno(), 0)
        mapped[turn.rng.randrange(len(mapped))] = turn.rng.randrange(256)
        world.maps.append(mapped)


@operation
def store_again(world: World, turn: Turn) -> None:
    """Store once more through a mapping made earlier, perhaps before the last snapshot."""
    if world.maps:
        mapped = turn.rng.choice(world.maps)
        if size := min(len(mapped), mapped.size()):  # a store behind the file's end would be a SIGBUS
            mapped[turn.rng.randrange(size)] = turn.rng.randrange(256)


@operation
def reuse_numbers(world: World, turn: Turn) -> None:
    """Remove files, then remount, so that new files get their object numbers."""
    if world.children or turn.rng.random() < 0.7:
        raise NothingThereError
    for _ in range(2):
        world.remove(turn.pick(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK))
    world.close()
    sh("zpool", "sync", world.dataset.partition("/")[0])
    sh("zfs", "unmount", world.dataset)
    sh("zfs", "mount", world.dataset)
    for _ in range(3):
        _write(world(turn.vacant()), turn.data())
    os.mkdir(world(turn.vacant()))
