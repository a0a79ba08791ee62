"""The oracle: everything a restored tree must have in common with its ZFS snapshot.

Deliberately shares no code with zdiffsync. Reads through directory descriptors, so paths of any length do.
"""

import errno
import hashlib
import os
import stat
from dataclasses import dataclass, replace

_SLACK = 1 << 20  # bytes a restored sparse file may take more than its source (record sizes differ)


@dataclass(frozen=True)
class State:
    """All of one object but its place; `group` are all its names when it has several."""

    type: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    rdev: int
    target: bytes | None
    xattrs: tuple[tuple[str, bytes], ...]
    digest: str | None
    group: tuple[bytes, ...] = ()


def states(root: bytes | str) -> dict[bytes, State]:
    """Return the state of every path below `root` (b'' is the root itself)."""
    return _read(os.fsencode(root))[0]


def differences(expected: bytes | str, restored: bytes | str) -> list[str]:
    """Return what is different, in words; empty when the trees are equal."""
    want, want_blocks = _read(os.fsencode(expected))
    have, have_blocks = _read(os.fsencode(restored))
    found = [f"missing: {path!r}" for path in sorted(want.keys() - have.keys())]
    found += [f"extra: {path!r}" for path in sorted(have.keys() - want.keys())]
    for path in sorted(want.keys() & have.keys()):
        for field in State.__dataclass_fields__:
            one, other = getattr(want[path], field), getattr(have[path], field)
            if one != other:
                found.append(f"{path!r} {field}: {one!r} expected, {other!r} restored")
        if have_blocks[path] > want_blocks[path] + _SLACK + want_blocks[path] // 10:
            found.append(
                f"{path!r} takes {have_blocks[path]} bytes, its source {want_blocks[path]}: holes filled"
            )
    return found


def _read(root: bytes) -> tuple[dict[bytes, State], dict[bytes, int]]:
    found: dict[bytes, State] = {}
    blocks: dict[bytes, int] = {}
    groups: dict[int, list[bytes]] = {}
    inodes: dict[bytes, int] = {}
    stack = [(os.open(root, os.O_RDONLY | os.O_DIRECTORY), b"")]
    found[b""] = _state(stack[0][0], b".")
    blocks[b""] = 0
    while stack:
        directory, prefix = stack.pop()
        for text in os.listdir(directory):
            name = os.fsencode(text)
            path = prefix + b"/" + name if prefix else name
            info = os.stat(name, dir_fd=directory, follow_symlinks=False)
            found[path] = _state(directory, name)
            blocks[path] = info.st_blocks * 512 if stat.S_ISREG(info.st_mode) else 0
            if stat.S_ISDIR(info.st_mode):
                stack.append((os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory), path))
            elif info.st_nlink > 1:
                groups.setdefault(info.st_ino, []).append(path)
                inodes[path] = info.st_ino
        os.close(directory)
    for path, inode in inodes.items():
        found[path] = replace(found[path], group=tuple(sorted(groups[inode])))
    return found, blocks


def _state(directory: int, name: bytes) -> State:
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    kind = stat.S_IFMT(info.st_mode)
    device = kind in {stat.S_IFCHR, stat.S_IFBLK}
    return State(
        type=kind, mode=stat.S_IMODE(info.st_mode), uid=info.st_uid, gid=info.st_gid,
        mtime_ns=info.st_mtime_ns, size=info.st_size if kind == stat.S_IFREG else 0,
        rdev=info.st_rdev if device else 0,
        target=os.readlink(name, dir_fd=directory) if kind == stat.S_IFLNK else None,
        xattrs=_xattrs(directory, name), digest=_digest(directory, name) if kind == stat.S_IFREG else None,
    )  # fmt: skip


def _xattrs(directory: int, name: bytes) -> tuple[tuple[str, bytes], ...]:
    path = b"/proc/self/fd/%d/%s" % (directory, name)
    try:
        keys = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in {errno.ENOTSUP, errno.EPERM}:
            return ()
        raise
    return tuple(sorted((key, os.getxattr(path, key, follow_symlinks=False)) for key in keys))


def _digest(directory: int, name: bytes) -> str:
    digest = hashlib.sha256()
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    try:
        size = os.fstat(fd).st_size
        at = 0
        while at < size:  # holes are skipped, or a 4 GiB sparse file would take minutes
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            end = os.lseek(fd, start, os.SEEK_HOLE)
            while start < end:
                block_end = min((start // 65536 + 1) * 65536, end)
                block = os.pread(fd, block_end - start, start)
                if block.count(0) != len(block):
                    digest.update(b"%d:" % start + block)
                start = block_end
            at = end
        digest.update(b"%d" % size)
    finally:
        os.close(fd)
    return digest.hexdigest()
