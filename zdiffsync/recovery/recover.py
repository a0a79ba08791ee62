#!/usr/bin/env python3
"""Restores a zdiffsync backup without zdiffsync.

    python3 recover.py --remote REMOTE --password-file FILE points
    python3 recover.py --remote REMOTE --password-file FILE ls POINT [PATH]
    python3 recover.py --remote REMOTE --password-file FILE restore POINT --to DIR [PATH]

REMOTE is the place of the backup as rclone knows it ("onedrive:backup"), or a directory; FILE holds the
password. `points` lists what can be restored. POINT is the id that it shows (its first digits will do), or a
dataset, meaning its newest point. PATH is a file or directory in it; without, everything is restored.

Needed are Python 3.9 or newer, rclone, restic 0.17 or newer, and one of: Python 3.14, the Python module
backports.zstd or pyzstd, the program zstd. As root, owners and device nodes are restored, too. DIR must have
room for the files and for the downloads, which lie in its folder .zdiffsync-recover-ID until all is done.
After an interruption the same command goes on with what has been downloaded.

Every byte that is restored has been checked. What is damaged is named and left out, the rest is restored, and
the exit code is 1. It is 2 when nothing can be done, and 0 when all is well.

What is read here is described in docs/manifest-format.md and docs/delta-format.md of zdiffsync.
"""

from __future__ import annotations

import argparse
import base64
import bisect
import contextlib
import errno
import functools
import hashlib
import importlib
import itertools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Union

EDITION = 1  # of this file: zdiffsync replaces an older one on the remote
FORMAT = 2
MIB = 1 << 20
HOLE = 64 << 10  # runs of zeros so long, at multiples of it, become holes
ZERO, COPY, PATCH, PREFIX, LITERAL = range(5)  # kinds of ops
LETTERS = {
    stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFIFO: "p", stat.S_IFSOCK: "s",
    stat.S_IFCHR: "c", stat.S_IFBLK: "b",
}  # fmt: skip
zstd: Any = None  # a module, or "zstd" for the program
failed = 0


class Stop(Exception):
    """Nothing can be done; the message says why."""


class Damage(Exception):
    """One file cannot be restored; the message says why."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


say_once = functools.lru_cache(None)(say)


def failure(what: bytes | str, why: object) -> None:
    """Name what cannot be restored; the exit code will tell, too."""
    global failed
    failed += 1
    say(f"FAILED {shown(what)}: {why}")


def shown(path: bytes | str) -> str:
    """Return a path as one line of printable characters."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(os.fsencode(path))[2:-1]


def join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name


# ---- zstd


def find_zstd() -> Any:
    """Return a Python module for zstd, or the name of the program."""
    for name in ("compression.zstd", "backports.zstd", "pyzstd"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    if shutil.which("zstd"):
        return "zstd"
    raise Stop("zstd is missing; install the package zstd, or the Python module backports.zstd")


def unpack(data: bytes, limit: int = -1, prefix: bytes = b"") -> bytes:
    """Return the content of one zstd frame, `limit` bytes at most; `prefix` is the frame's raw prefix."""
    # Zeros in front of the prefix change nothing, since matches count backwards; but nothing can take what is
    # behind them for a dictionary of zstd's own format, as the program would.
    prefix = bytes(8) + prefix if len(prefix) >= 8 else b""
    most = limit + 1 if limit >= 0 else -1
    unzstd = unzstd_by_program if zstd == "zstd" else unzstd_by_module
    made = unzstd(data, most, prefix)
    if len(made) == most:
        raise Damage(f"a compressed frame holds more than the {limit} bytes it should")
    return made


def unzstd_by_module(data: bytes, most: int, prefix: bytes) -> bytes:
    decoder = zstd.ZstdDecompressor(zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None)
    try:
        made: bytes = decoder.decompress(data, most)
    except zstd.ZstdError as error:
        raise Damage(f"a compressed frame is damaged: {error}") from error
    if not decoder.eof and len(made) != most:
        raise Damage("a compressed frame is cut short")
    return made


def unzstd_by_program(data: bytes, most: int, prefix: bytes) -> bytes:
    with tempfile.TemporaryFile() as source, tempfile.NamedTemporaryFile() as old:
        source.write(data)
        source.seek(0)
        old.write(prefix)
        old.flush()
        command = ["zstd", "-d", "-c", "-q", *([f"--patch-from={old.name}"] if prefix else [])]
        process = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with process:
            assert process.stdout is not None
            made = process.stdout.read(most)
            if len(made) == most:
                process.kill()
    if process.returncode and len(made) != most:
        raise Damage("a compressed frame is damaged")
    return made


# ---- the remote


class Remote:
    """The backup through rclone: `zdplain:` is the remote, `zddata:` what is encrypted of it."""

    def __init__(self, place: str, password_file: Path) -> None:
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("RESTIC_")}
        self.env |= {
            "RCLONE_ASK_PASSWORD": "false", "RCLONE_CONFIG_ZDPLAIN_TYPE": "alias",
            "RCLONE_CONFIG_ZDPLAIN_REMOTE": place, "RCLONE_CONFIG_ZDDATA_TYPE": "crypt",
            "RCLONE_CONFIG_ZDDATA_REMOTE": "zdplain:data", "RCLONE_CONFIG_ZDDATA_SUFFIX": "none",
            "RCLONE_CONFIG_ZDDATA_FILENAME_ENCRYPTION": "off",
            "RCLONE_CONFIG_ZDDATA_DIRECTORY_NAME_ENCRYPTION": "false",
            "RESTIC_REPOSITORY": "rclone:zdplain:restic",
            "RESTIC_PASSWORD_FILE": str(password_file.absolute()),
        }  # fmt: skip
        done = self.run("rclone", "cat", "zdplain:zdiffsync.json")
        if done.returncode:
            raise Stop(f"there is no zdiffsync backup at {place}, or it cannot be read: {last_words(done)}")
        mark = json.loads(done.stdout)
        if mark["format"] != FORMAT:
            raise Stop(f"the backup has format {mark['format']}; this program knows {FORMAT} only")
        self.repository: str = mark["repository"]
        password = re.sub(rb"\n\Z", b"", password_file.read_bytes())
        salt = self.repository.encode()
        key = hashlib.scrypt(password, salt=salt, n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=64).hex()
        for variable, half in (("PASSWORD", key[:64]), ("PASSWORD2", key[64:])):
            done = self.run("rclone", "obscure", "-", stdin=half.encode())  # stdin is seen by nobody else
            if done.returncode:
                raise Stop(f"rclone obscure failed: {last_words(done)}")
            self.env[f"RCLONE_CONFIG_ZDDATA_{variable}"] = done.stdout.decode().strip()
        done = self.run("rclone", "cat", "zddata:canary")
        if b"bad password" in done.stderr:
            raise Stop(f"the password in {password_file} does not open the backup at {place}")
        if done.returncode or hashlib.sha256(done.stdout[:32]).digest() != done.stdout[32:]:
            failure("data/canary", "damaged; it is no part of any file, but the password cannot be proved")

    def run(self, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run rclone or restic to its end; the exit code is the caller's to judge."""
        try:
            return subprocess.run(command, check=False, input=stdin, env=self.env, capture_output=True)
        except OSError as error:
            raise Stop(f"{command[0]} cannot be started ({error.strerror}); install it") from error

    def copy(self, source: str, folder: Path, *options: str) -> str | None:
        """Copy encrypted objects into a folder; return why not all came, None if they did."""
        done = self.run("rclone", "copy", "--retries", "2", *options, f"zddata:{source}", str(folder))
        return last_words(done) if done.returncode else None


def last_words(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    return re.sub(r"^\d{4}/\S+ \S+ +(?:[A-Z]+ *: )?", "", lines[-1]).strip() if lines else "no reason given"


# ---- manifests


class Manifest(NamedTuple):
    """One object below `points/`: what changed from `first` to `last` in a chain; its point is `last`."""

    path: Path
    chain: str
    first: int
    last: int
    revision: int
    header: dict[str, Any]

    def supersedes(self, other: Manifest) -> bool:
        larger = self.last - self.first > other.last - other.first
        contains = self.first <= other.first and self.last >= other.last
        return contains and (larger or self.revision > other.revision)

    @property
    def created_ns(self) -> int:
        return int(self.header["created_ns"])


def read_manifest(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the header and all records. Raises Damage where the manifest is not whole."""
    count = -1
    for line in unpack(path.read_bytes()).split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise Damage(f"line {count + 2} of it does not parse") from error
        if "end" in record:
            if record["end"] != count:
                raise Damage(f"it holds {count} of its {record['end']} records")
            return
        count += 1
        yield record
    raise Damage("it has no end")


def read_chains(folder: Path, repository: str) -> dict[str, list[Manifest]]:
    """Return each chain's manifests that can be used, in order: from its base on, without a gap."""
    chains: dict[str, list[Manifest]] = {}
    for path in folder.glob("*/*.manifest"):
        found = re.fullmatch(r"(\d{6,})-(\d{6,})\.(\d+)", path.stem)
        if found is not None:
            one = Manifest(path, path.parent.name, int(found[1]), int(found[2]), int(found[3]), {})
            chains.setdefault(one.chain, []).append(one)
    return {chain: read_chain(chain, every, repository) for chain, every in chains.items()}


def read_chain(chain: str, every: list[Manifest], repository: str) -> list[Manifest]:
    current = [one for one in every if not any(other.supersedes(one) for other in every)]
    usable: list[Manifest] = []
    for one in sorted(current, key=lambda one: one.first):
        try:
            if one.first != (usable[-1].last + 1 if usable else 0):
                raise Damage("what comes before it is missing")
            header = next(read_manifest(one.path))
            said = [header[key] for key in ("manifest", "repository", "chain", "first", "sequence")]
            if said != [FORMAT, repository, chain, one.first, one.last]:
                raise Damage("its header does not agree with its name, or is of a newer format")
        except (Damage, LookupError, TypeError) as error:
            if any(one.supersedes(other) for other in every):
                # Its upload broke off, so what it was to take the place of is still there.
                return read_chain(chain, [other for other in every if other != one], repository)
            failure(f"the points of chain {chain} from {one.path.name} on", error)
            break
        usable.append(one._replace(header=header))
    return usable


def all_points(chains: dict[str, list[Manifest]]) -> list[Manifest]:
    return sorted((one for chain in chains.values() for one in chain), key=lambda one: one.created_ns)


def find_point(chains: dict[str, list[Manifest]], name: str) -> list[Manifest]:
    """Return the manifests that make a point: those of its chain, up to its own."""
    points = all_points(chains)
    found = [one for one in points if one.header["point"].startswith(name)]
    found = found or [one for one in points if one.header["dataset"] == name][-1:]
    if len(found) != 1:
        raise Stop(f"{len(found) or 'no'} points are called {name!r}; the command points lists them")
    return [one for one in chains[found[0].chain] if one.last <= found[0].last]


# ---- the tree of a point


class Meta(NamedTuple):
    """All of an entry but name and bytes; `kind` is a letter as in `find -type`."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    rdev: int
    target: bytes
    xattrs: dict[bytes, bytes]


class Content(NamedTuple):
    """Where the bytes of one version of a file are (docs/manifest-format.md)."""

    size: int
    digest: str
    windowed: bool
    blob: tuple[str, int, int] | None
    packs: tuple[str, ...]
    source: int | None
    source_path: bytes | None


class Place(NamedTuple):
    """A place in the tree: an object of the manifests, a path in the base, or both."""

    object: int
    base: bytes | None


NO_OBJECT = 0


def raw(text: str | None) -> bytes:
    """Return the bytes that a JSON string stands for."""
    return (text or "").encode("utf-8", "surrogateescape")


def checked(path: str | None) -> bytes | None:
    """Return a path of the base as bytes. Raises Damage for one that leads elsewhere."""
    if path is not None and any(name in {"", ".", ".."} or "\0" in name for name in path.split("/") if path):
        raise Damage(f"it has a path {path!r}")
    return None if path is None else raw(path)


class Overlay:
    """What the manifests of a point say; all else is as it is in the base."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.restic: str | None = manifests[0].header["restic"]
        self.base_path: dict[int, bytes | None] = {}  # of an object
        self.object_at: dict[bytes, int] = {}  # by base path
        self.names: dict[int, dict[bytes, int | None]] = {}  # objects by directory and name
        self.versions: dict[int, tuple[Meta, int | None]] = {}
        self.contents: dict[int, Content] = {}
        self.pack_sizes: dict[str, int] = {}
        for manifest in manifests:
            try:
                for record in itertools.islice(read_manifest(manifest.path), 1, None):
                    self._add(record)
            except (Damage, LookupError, TypeError, ValueError) as error:
                what = f"the manifest {manifest.path.name} is damaged"
                raise Stop(f"{what}: {error}; restore an older point") from error
        self.paths = sorted(self.object_at)

    def _add(self, record: dict[str, Any]) -> None:
        kind = next(iter(record))
        if kind == "pack":
            self.pack_sizes[record["pack"]] = record["size"]
        elif kind == "content":
            self.contents[record["content"]] = Content(
                record["size"], record["digest"], record["windowed"], record["blob"], tuple(record["packs"]),
                record["source"], checked(record["source_path"]),
            )  # fmt: skip
        elif kind == "object":
            path = self.base_path[record["object"]] = checked(record["base"])
            if path is not None:
                self.object_at[path] = record["object"]
        elif kind == "version":
            xattrs = {raw(key): base64.b64decode(value) for key, value in record["xattrs"]}
            meta = Meta(
                record["type"], record["mode"], record["uid"], record["gid"], record["mtime_ns"],
                record["size"], record["rdev"], raw(record["target"]), xattrs,
            )  # fmt: skip
            if meta.kind not in LETTERS.values():
                raise Damage(f"it has an entry of type {meta.kind!r}")
            self.versions[record["version"]] = meta, record["content"]
        elif kind == "name":
            name = checked(record["name"])
            if not name or b"/" in name:
                raise Damage(f"it has a name {name!r}")
            self.names.setdefault(record["parent"], {})[name] = record["child"]

    def child(self, place: Place, name: bytes) -> Place | None:
        """Return what a name in a directory leads to, None for nowhere; the base may lack it all the same."""
        names = self.names.get(place.object, {})
        if name in names:
            number = names[name]
            return None if number is None else Place(number, self.base_path.get(number))
        if place.base is None:
            return None
        path = join(place.base, name)
        return Place(self.object_at.get(path, NO_OBJECT), path)

    def children(self, place: Place, base_names: list[bytes]) -> Iterator[tuple[bytes, Place]]:
        """Yield names and places in a directory; `base_names` are those that the base has there."""
        for name in sorted({*self.names.get(place.object, ()), *base_names}):
            child = self.child(place, name)
            if child is not None:
                yield name, child

    def find(self, path: bytes) -> Place:
        """Follow a path from the root."""
        place: Place | None = Place(self.object_at.get(b"", NO_OBJECT), b"")
        for name in path.split(b"/") if path else ():
            place = self.child(place, name) if place is not None else None
        if place is None:
            raise Stop(f"the point has no {shown(path)}")
        return place

    def sources(self, number: int | None) -> Iterator[Content]:
        """Yield a content and all that it is a delta of."""
        while number in self.contents:
            yield self.contents[number]
            number = self.contents[number].source

    def wanted_of_base(self, top: Place) -> set[bytes]:
        """Return paths of the base that cover what is needed of it at and below `top`, and perhaps more."""
        wanted: set[bytes] = set()
        todo, seen = [top], set()
        while todo:
            place = todo.pop()
            if place in seen:
                continue
            seen.add(place)
            meta, content = self.versions.get(place.object, (None, 0))
            wanted.update(one.source_path for one in self.sources(content) if one.source_path is not None)
            if place.base is not None and (meta is None or meta.kind == "d" or content == 0):
                wanted.add(place.base)
                first = bisect.bisect_left(self.paths, join(place.base, b""))
                for path in self.paths[first:]:
                    if not path.startswith(join(place.base, b"")):
                        break
                    todo.append(Place(self.object_at[path], None))
            names = self.names.get(place.object, {})
            todo += [Place(child, self.base_path.get(child)) for child in names.values() if child is not None]
        return wanted


# ---- contents, as sources of bytes with `size` and `read(offset, length)`


class MemoryBytes:
    """Bytes at hand."""

    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def parts(self) -> Iterator[tuple[int, int]]:
        yield 0, self.size

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class FileBytes:
    """A file of the base."""

    def __init__(self, folder: int, name: bytes) -> None:
        self.descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
        self.size = os.fstat(self.descriptor).st_size

    def __del__(self) -> None:
        os.close(self.descriptor)

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self.descriptor, length, offset)


class Windows:
    """A large file, put together from zeros, its old version, and payloads (docs/delta-format.md)."""

    def __init__(self, table: bytes, old: Source | None, packs: Packs) -> None:
        self.old, self.packs = old, packs
        head = Fields(table)
        if head.take(1) != b"\x01":
            raise Damage("an op table is of an unknown version")
        length = head.uint(1 << 30)
        fields = Fields(unpack(table[head.at :], length))
        self.size, old_size = fields.uint(), fields.uint() - 1
        if old_size >= 0 and (old is None or old.size != old_size):
            raise Damage("what a delta was made from is missing or has another size")
        self.names = [fields.take(fields.uint(255)).decode() for _ in range(fields.uint())]
        count, digests = fields.uint(), fields.uint()
        # Columns of numbers, for there can be millions of ops. Digests count from 1; 0 is none.
        self.ends, self.rows = array("Q"), array("Q")
        made = old_cursor = payload_cursor = digested = 0
        for _ in range(count):
            kind, length = fields.take(1)[0], fields.uint()
            kind, has_digest = kind & ~8, bool(kind & 8)
            start = taken = pack = offset = stored = 0
            if kind in {COPY, PATCH, PREFIX}:
                start = old_cursor + fields.sint()
                taken = length if kind == COPY else fields.uint(1 << 25)
            old_cursor = length + (start if kind == COPY else old_cursor)
            if kind in {PATCH, PREFIX, LITERAL}:
                pack, offset = fields.uint(len(self.names) - 1), payload_cursor + fields.sint()
                stored = fields.uint(1 << 25)
                payload_cursor = offset + stored
            made += length
            digested += has_digest
            inside_old = start >= 0 and start + taken <= max(0, old_size)
            checkable = length <= 1 << 24 if has_digest else kind in {ZERO, COPY}
            if kind > LITERAL or not length or not inside_old or not checkable or not 0 <= offset < 1 << 62:
                raise Damage("an op table has an op that cannot be")
            self.ends.append(made)
            self.rows.extend((kind, start, taken, pack, offset, stored, digested if has_digest else 0))
        self.digests = fields.take(digests)
        if made != self.size or digests != 16 * digested or fields.at != len(fields.data):
            raise Damage("an op table does not add up")
        self.kept: OrderedDict[int, bytes] = OrderedDict()

    def parts(self) -> Iterator[tuple[int, int]]:
        """Yield (offset, length) of all that is not zeros by the table, in pieces that fit into memory."""
        start = 0
        for number, end in enumerate(self.ends):
            step = end - start if self.rows[7 * number + 6] else 4 * MIB
            if self.rows[7 * number] != ZERO:
                yield from ((at, min(step, end - at)) for at in range(start, end, step))
            start = end

    def read(self, offset: int, length: int) -> bytes:
        made, at, stop = [], offset, offset + length
        number = bisect.bisect_right(self.ends, offset)
        while at < stop:
            start, end = self.ends[number - 1] if number else 0, self.ends[number]
            count = min(end, stop) - at
            kind, old_start, *_, digest = self.rows[7 * number : 7 * number + 7]
            if kind == ZERO:
                made.append(bytes(count))
            elif digest:
                made.append(self._window(number, end - start)[at - start : at - start + count])
            else:
                made.append(self._old(old_start + at - start, count))
            at += count
            number += 1
        return b"".join(made)

    def _old(self, offset: int, length: int) -> bytes:
        return self.old.read(offset, length) if self.old is not None and length else b""

    def _window(self, number: int, length: int) -> bytes:
        """Make all bytes of an op and check them; the last ones are kept, for reads come in order."""
        if number in self.kept:
            return self.kept[number]
        kind, start, taken, pack, offset, stored, digest = self.rows[7 * number : 7 * number + 7]
        made, where = self._old(start, taken), ""
        if kind != COPY:
            payload, where = self.packs.read(self.names[pack], offset, stored), f" in pack {self.names[pack]}"
            made = apply_patch(payload, made, length) if kind == PATCH else unpack(payload, length, made)
        right = self.digests[16 * digest - 16 : 16 * digest]
        if len(made) != length or hashlib.sha256(made).digest()[:16] != right:
            raise Damage(f"window {number}{where}, or what it was made from, is damaged")
        self.kept[number] = made
        while sum(map(len, self.kept.values())) > 16 * MIB and len(self.kept) > 1:
            self.kept.popitem(last=False)
        return made


Source = Union[MemoryBytes, FileBytes, Windows]


class Fields:
    """Reads the fields of an op table or a patch in order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Damage("an op table or patch ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def uint(self, most: int = (1 << 63) - 1) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80 and value <= most:
                return value
        raise Damage(f"an op table or patch has a number above {most}")

    def sint(self) -> int:
        folded = self.uint()
        return -((folded + 1) >> 1) if folded & 1 else folded >> 1


def apply_patch(payload: bytes, old: bytes, length: int) -> bytes:
    """Carry out a bsdiff patch (docs/delta-format.md)."""
    fields = Fields(unpack(payload, 64 + 3 * length))
    count, differences = fields.uint(length), fields.uint(length)
    steps = [(fields.sint(), fields.sint(), fields.sint()) for _ in range(count)]
    changes, extras = Fields(fields.take(differences)), Fields(fields.data[fields.at :])
    made, at = [], 0
    for add, insert, seek in steps:
        if add < 0 or insert < 0:
            raise Damage("a patch has a step backwards")
        before = bytes(min(add, max(0, -at)))  # nothing is added outside of the old version
        there = before + old[max(0, at) : max(0, at + add)]
        made += [add_bytes(changes.take(add), there + bytes(add - len(there))), extras.take(insert)]
        at += add + seek
    if changes.at != len(changes.data) or extras.at != len(extras.data):
        raise Damage("a patch is not used up")
    return b"".join(made)


def add_bytes(one: bytes, other: bytes) -> bytes:
    """Add two strings of bytes of the same length, each byte modulo 256, as if they were two numbers."""
    low, high = (int.from_bytes(bits * len(one), "little") for bits in (b"\x7f", b"\x80"))
    a, b = int.from_bytes(one, "little"), int.from_bytes(other, "little")
    # Seven bits of each byte are added with the carry into the eighth, which is added without one.
    return (((a & low) + (b & low)) ^ ((a ^ b) & high)).to_bytes(len(one), "little")


class Packs:
    """The packs in the work folder; of one that did not come whole, blobs are read from the remote."""

    def __init__(self, remote: Remote, folder: Path, sizes: dict[str, int]) -> None:
        self.remote, self.folder, self.sizes = remote, folder, sizes
        self.gone: set[str] = set()

    def download(self, packs: set[str]) -> None:
        """Download packs, but for those that an earlier attempt has downloaded."""
        absent = [pack for pack in sorted(packs) if not self._whole(pack)]
        if absent:
            say(f"downloading {len(absent)} packs, {sum(self.sizes.get(pack, 0) for pack in absent):,} bytes")
            with tempfile.NamedTemporaryFile("w") as listing:
                listing.writelines(f"{pack[:2]}/{pack}\n" for pack in absent)
                listing.flush()
                self.remote.copy("packs", self.folder, "--no-traverse", "--files-from-raw", listing.name)
        for pack in absent:
            if not self._whole(pack):
                say(f"pack {pack} did not come whole; what is in it is read piece by piece")

    def _whole(self, pack: str) -> bool:
        path = self.folder / pack[:2] / pack
        return path.exists() and path.stat().st_size == self.sizes.get(pack)

    def read(self, pack: str, offset: int, length: int) -> bytes:
        """Return a blob. Its digest is the caller's to check."""
        if self._whole(pack):
            with (self.folder / pack[:2] / pack).open("rb") as file:
                return os.pread(file.fileno(), length, offset)
        if pack in self.gone:
            raise Damage(f"pack {pack} is missing")
        part = ("--offset", str(offset), "--count", str(length))
        done = self.remote.run("rclone", "cat", *part, f"zddata:packs/{pack[:2]}/{pack}")
        if done.returncode in {3, 4}:  # rclone's codes for a missing folder or file
            self.gone.add(pack)
            raise Damage(f"pack {pack} is missing")
        if done.returncode or len(done.stdout) != length:
            raise Damage(f"pack {pack} is damaged: {last_words(done)}")
        return done.stdout


# ---- files and folders


class Tree:
    """A directory and all below it, reached by descriptors: no path is too long, no symlink is followed."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, exist_ok=True)
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.last = b"", os.dup(self.root)

    def at(self, path: bytes) -> tuple[int, bytes]:
        """Return the open directory of a path, good until the next call, and the name in it."""
        folder, _, name = path.rpartition(b"/")
        return self.folder(folder), name or b"."

    def folder(self, path: bytes) -> int:
        if path != self.last[0]:
            descriptor = os.dup(self.root)
            try:
                for name in path.split(b"/") if path else ():
                    above, flags = descriptor, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                    descriptor = os.open(name, flags, dir_fd=above)
                    os.close(above)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(self.last[1])
            self.last = path, descriptor
        return self.last[1]

    def stat(self, path: bytes | None) -> os.stat_result | None:
        """Return what stands at a path; None where nothing does."""
        try:
            folder, name = self.at(path) if path is not None else (self.root, b"/no path")
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, path: bytes | None) -> list[bytes]:
        """Return the names in a directory; none where there is no such directory."""
        info = self.stat(path)
        if path is None or info is None or not stat.S_ISDIR(info.st_mode):
            return []
        return list(map(os.fsencode, os.listdir(self.folder(path))))


def inside(folder: int, name: bytes) -> bytes:
    """Return a short path to a name in an open directory, for calls that take no descriptor."""
    return b"/proc/self/fd/%d/%s" % (folder, name)


def read_xattrs(path: bytes) -> dict[bytes, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # this file system has none
        return {}
    return {os.fsencode(name): os.getxattr(path, name, follow_symlinks=False) for name in names}


def apply_meta(folder: int, name: bytes, meta: Meta) -> None:
    """Set owner, mode, attributes and time, in this order: each would undo the next."""
    try:
        os.chown(name, meta.uid, meta.gid, dir_fd=folder, follow_symlinks=False)
    except PermissionError:
        say_once("owners could not be restored; run this as root")
    path = inside(folder, name)
    if meta.kind != "l":
        os.chmod(path, meta.mode)
    try:
        there = read_xattrs(path)
        for key in there.keys() - meta.xattrs.keys():
            os.removexattr(path, key, follow_symlinks=False)
        for key, value in meta.xattrs.items():
            if there.get(key) != value:
                os.setxattr(path, key, value, follow_symlinks=False)
    except OSError as error:
        say_once(f"some extended attributes or ACLs could not be restored: {error.strerror}")
    os.utime(name, ns=(meta.mtime_ns, meta.mtime_ns), dir_fd=folder, follow_symlinks=False)


def write_sparse(descriptor: int, data: bytes, offset: int) -> None:
    """Write bytes at an offset, but for blocks of zeros."""
    at = 0
    while at < len(data):
        block = data[at : at + HOLE - (offset + at) % HOLE]
        at += len(block) if block == bytes(len(block)) else os.pwrite(descriptor, block, offset + at)


def open_up(folder: Path) -> dict[bytes, int]:
    """Let us into all directories below a folder, unless root is in anyway; return the modes they had."""
    modes: dict[bytes, int] = {}
    for above, names, _ in os.walk(os.fsencode(folder)) if os.geteuid() else ():
        for path in (join(above, name) for name in names):
            if not os.path.islink(path):
                modes[os.path.relpath(path, os.fsencode(folder))] = stat.S_IMODE(os.lstat(path).st_mode)
                os.chmod(path, 0o700)
    return modes


def remove(folder: Path) -> None:
    if folder.exists():
        open_up(folder)
        shutil.rmtree(folder)


# ---- the base


class Base:
    """What restic restores of the base, in a folder of its own."""

    def __init__(self, remote: Remote, snapshot: str | None, folder: Path) -> None:
        self.remote, self.snapshot, self.folder = remote, snapshot, folder
        self.tree = Tree(folder)
        self.broken: dict[tuple[int, int], str] = {}  # by device and inode
        self.modes: dict[bytes, int] = {}  # of directories that we had to let ourselves into

    def restore(self, paths: set[bytes]) -> None:
        """Have restic restore these paths with all below them; b"" is everything."""
        if not paths or self.snapshot is None:
            return
        say("restic restores what is needed of the base")
        with tempfile.NamedTemporaryFile() as listing, tempfile.TemporaryFile() as stderr:
            command = ["restic", "--json", "--no-lock", "restore", self.snapshot, "--sparse"]
            command += ["--target", str(self.folder)]
            if b"" not in paths:
                listing.writelines(b"/" + restic_pattern(path) + b"/\n" for path in sorted(paths))
                listing.flush()
                command += ["--include-file", listing.name]
            pipe = subprocess.PIPE
            try:
                process = subprocess.Popen(command, env=self.remote.env, stdout=pipe, stderr=stderr)
            except OSError as error:
                raise Stop(f"restic cannot be started ({error.strerror}); install it") from error
            with process:
                assert process.stdout is not None
                for line in process.stdout:
                    if sys.stderr.isatty() and b'"percent_done"' in line:
                        print(f"{json.loads(line)['percent_done']:7.1%}", end="\r", file=sys.stderr)
            stderr.seek(0)
            words = [json.loads(line) for line in stderr if line.startswith(b"{")]
        self.modes = open_up(self.folder)
        errors = [said for said in words if said.get("message_type") == "error" and said.get("item")]
        for said in errors:
            self._note(said["item"].strip("/"), said["error"]["message"])
        if process.returncode and not errors:
            failure("the base", words[-1].get("message") if words else "restic failed without a reason")

    def _note(self, item: str, why: str) -> None:
        """Note what restic could not restore; it shows bytes that are no UTF-8 as U+FFFD."""
        paths = [b""]
        for part in item.split("/"):
            pattern = re.compile(re.escape(part).replace("\ufffd", "[\ufffd\udc80-\udcff]"))
            paths = [
                join(path, name) for path in paths for name in self.tree.names(path)
                if pattern.fullmatch(name.decode("utf-8", "surrogateescape"))
            ]  # fmt: skip
        infos = [info for info in map(self.tree.stat, paths) if info is not None]
        files = [info for info in infos if not stat.S_ISDIR(info.st_mode)]
        if not files or re.match(r"lchown |chmod |xattr\.|failed to restore timestamp|utimens|UtimesN", why):
            failure(item, f"restic says {why}")
        else:
            self.broken.update(((info.st_dev, info.st_ino), why) for info in files)

    def at(self, path: bytes | None) -> tuple[int, bytes, int]:
        """Return directory, name and size of a file that restic has restored whole."""
        info = self.tree.stat(path)
        if path is None or info is None:
            raise Damage("the base lacks it")
        if (info.st_dev, info.st_ino) in self.broken:
            raise Damage(f"restic says {self.broken[info.st_dev, info.st_ino]}")
        return (*self.tree.at(path), info.st_size)

    def folder_meta(self, path: bytes, info: os.stat_result) -> Meta:
        """Return what has to be set for another directory to be like this one."""
        mode = self.modes.get(path, stat.S_IMODE(info.st_mode))
        xattrs = read_xattrs(inside(*self.tree.at(path)))
        return Meta("d", mode, info.st_uid, info.st_gid, info.st_mtime_ns, 0, 0, b"", xattrs)


def restic_pattern(path: bytes) -> bytes:
    """Return the pattern of just this path; a newline cannot be said, so any character may stand there."""
    path = re.sub(rb"[\\*?\[\]]", lambda special: b"\\" + special[0], path)
    return path.replace(b"$", b"$$").replace(b"\n", b"?")


def list_base(remote: Remote, snapshot: str | None, path: bytes) -> dict[bytes, dict[str, Any]]:
    """Return restic's records of what a directory of the base holds, by name; none where there is none."""
    if snapshot is None:
        return {}
    done = remote.run("restic", "--no-lock", "--no-cache", "cat", "tree", f"{snapshot}:{os.fsdecode(path)}")
    if done.returncode and not re.search(rb"not found|not a dir", done.stderr):
        raise Stop(f"restic cannot list the base: {last_words(done)}")
    nodes = [] if done.returncode else json.loads(done.stdout)["nodes"]
    return {unquote(node["name"]): node for node in nodes}


def unquote(text: str) -> bytes:
    """Return the bytes of a name in restic's records, which are quoted as in Go."""

    def plain(found: re.Match[bytes]) -> bytes:
        if found[1]:
            return bytes.fromhex(found[1].decode())
        if found[2]:
            return chr(int(found[2][1:], 16)).encode()
        return found[3].translate(bytes.maketrans(b"abfnrtv", b"\a\b\f\n\r\t\v"))

    return re.sub(rb"\\(?:x(..)|(u.{4}|U.{8})|(.))", plain, text.encode())


# ---- restoring


class Item(NamedTuple):
    """One name of a point. `meta` is None where the base's own file is taken as it is."""

    path: bytes
    place: Place
    kind: str
    meta: Meta | None
    content: int | None


class Restore:
    """Puts together what lies at and below one place of a point, in `work/tree`."""

    def __init__(self, remote: Remote, overlay: Overlay, work: Path) -> None:
        for name in ("tree", "new"):  # of an earlier attempt
            remove(work / name)
        self.overlay = overlay
        self.base = Base(remote, overlay.restic, work / "base")
        self.packs = Packs(remote, work / "packs", overlay.pack_sizes)
        self.tree, self.new = Tree(work / "tree"), Tree(work / "new")
        self.made: dict[int, Damage | None] = {}  # objects in `new`, and what went wrong with them
        self.folders: list[tuple[bytes, Meta]] = []
        self.count = 0

    def walk(self, top: Place, path: bytes) -> Iterator[Item]:
        """Yield what is at a place (called `path`) and below it, each directory before what it holds."""
        todo = [(path, top)]
        while todo:
            path, place = todo.pop()
            version = self.overlay.versions.get(place.object)
            if version is not None:
                item = Item(path, place, version[0].kind, *version)
            else:
                info = self.base.tree.stat(place.base)
                if info is None or place.base is None:
                    continue  # neither the manifests nor the base have it
                kind = LETTERS[stat.S_IFMT(info.st_mode)]
                meta = self.base.folder_meta(place.base, info) if kind == "d" else None
                item = Item(path, place, kind, meta, 0)
            yield item
            if item.kind == "d":
                children = self.overlay.children(place, self.base.tree.names(place.base))
                todo += [(join(path, name), child) for name, child in children][::-1]

    def build(self, top: Place, path: bytes) -> None:
        """Fetch and make everything; what fails is named and left out."""
        self.base.restore(self.overlay.wanted_of_base(top))
        contents = {item.content for item in self.walk(top, path) if item.kind == "f"}
        sources = itertools.chain.from_iterable(map(self.overlay.sources, contents))
        self.packs.download({pack for content in sources for pack in content.packs})
        for item in self.walk(top, path):
            try:
                self._put(item)
            except Damage as error:
                failure(item.path, error)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                    raise
                failure(item.path, error.strerror)

    def _put(self, item: Item) -> None:
        if item.kind == "d" and item.meta is not None:
            folder, name = self.tree.at(item.path)
            if item.path:
                os.mkdir(name, 0o700, dir_fd=folder)
            self.folders.append((item.path, item.meta))
            return
        # Linked, not moved: another name, a delta or the next attempt may need the file where it is.
        source_folder, source = self._source(item)
        folder, name = self.tree.at(item.path)
        os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
        self.count += 1

    def _source(self, item: Item) -> tuple[int, bytes]:
        """Return directory and name where the file itself lies: in the base, or made now."""
        number, meta = item.place.object, item.meta
        if meta is None or (item.kind == "f" and item.content == 0):
            folder, name, size = self.base.at(item.place.base)
            if meta is not None:
                if size != meta.size:
                    raise Damage("in the base it has another size")
                apply_meta(folder, name, meta)
            return folder, name
        folder, name = self.new.at(b"%d" % number)
        if number not in self.made:
            self.made[number] = None
            try:
                self._make(folder, name, item, meta)
            except Damage as error:
                self.made[number] = error
        damage = self.made[number]
        if damage is not None:
            raise damage
        return folder, name

    def _make(self, folder: int, name: bytes, item: Item, meta: Meta) -> None:
        if item.kind == "l":
            os.symlink(meta.target, name, dir_fd=folder)
        elif item.kind != "f":
            kind = next(kind for kind, letter in LETTERS.items() if letter == item.kind)
            os.mknod(name, kind | 0o600, meta.rdev, dir_fd=folder)
        else:
            source = MemoryBytes(b"") if item.content is None else self._stored(item.content)
            if source.size != meta.size:
                raise Damage(f"what is stored has {source.size} bytes, the file had {meta.size}")
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
            with open(descriptor, "wb", buffering=0) as file:
                for offset, length in source.parts():
                    write_sparse(descriptor, source.read(offset, length), offset)
                file.truncate(meta.size)
        apply_meta(folder, name, meta)

    def _stored(self, number: int) -> MemoryBytes | Windows:
        """Open a content of the manifests."""
        content = self.overlay.contents.get(number)
        if content is None or content.blob is None:
            raise Damage("its bytes are known to be lost")
        blob = self.packs.read(*content.blob)
        if not content.windowed:
            blob = unpack(blob, content.size)
        if hashlib.sha256(blob).hexdigest() != content.digest:
            raise Damage(f"its bytes in pack {content.blob[0]} are damaged")
        if not content.windowed:
            return MemoryBytes(blob)
        if content.source is None:
            return Windows(blob, None, self.packs)
        if content.source != 0:
            return Windows(blob, self._stored(content.source), self.packs)
        folder, name, _ = self.base.at(content.source_path)
        return Windows(blob, FileBytes(folder, name), self.packs)


# ---- commands


def show_points(chains: dict[str, list[Manifest]]) -> None:
    print(f"{'POINT':16}  {'TIME (UTC)':19}  DATASET")
    for one in all_points(chains):
        words = one.header["point"], utc(one.created_ns), shown(one.header["dataset"]), *one.header["tags"]
        print("  ".join(words))


def utc(ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(ns // 10**9))


def list_directory(remote: Remote, overlay: Overlay, path: bytes) -> None:
    base = functools.lru_cache(None)(functools.partial(list_base, remote, overlay.restic))
    kinds = {"file": "f", "dir": "d", "symlink": "l", "fifo": "p", "chardev": "c", "dev": "b"}
    place = overlay.find(path)
    children = list(overlay.children(place, [] if place.base is None else list(base(place.base))))
    for name, child in children:
        version = overlay.versions.get(child.object)
        if version is not None:
            print(version[0].kind, f"{version[0].size:>15,}", utc(version[0].mtime_ns), shown(name))
            continue
        folder, _, base_name = (child.base or b"").rpartition(b"/")
        node = base(folder).get(base_name)
        if node is not None:
            changed = node["mtime"][:19].replace("T", " ")
            print(kinds[node["type"]], f"{node.get('size', 0):>15,}", changed, shown(name))


def restore_point(remote: Remote, manifests: list[Manifest], path: bytes, target: Path) -> None:
    point = manifests[-1].header
    target = target.absolute()
    work = target / f".zdiffsync-recover-{point['point']}"
    name = path.rpartition(b"/")[2]
    there = set(os.listdir(target) if target.exists() else ()) - {work.name}
    if os.fsdecode(name) in there or (there and not path):
        raise Stop(f"{target} is not empty, or has a {shown(name)} already; name another directory")
    overlay = Overlay(manifests)
    top = overlay.find(path)
    when = utc(manifests[-1].created_ns)
    say(f"restoring {shown(path) or 'all'} of {shown(point['snapshot'])}, made {when} UTC")
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    remote.env["RESTIC_CACHE_DIR"] = str(work / "restic-cache")
    restore = Restore(remote, overlay, work)
    restore.build(top, name)
    names = os.listdir(work / "tree")
    for made in names:
        os.rename(work / "tree" / made, target / made)
    remove(work)
    if path and not names and not failed:
        raise Stop(f"the point has no {shown(path)}")
    tree = Tree(target)
    for folder, meta in reversed(restore.folders):  # last of all, since everything above changes their times
        apply_meta(*tree.at(folder), meta)
    folders = sum(1 for folder, _ in restore.folders if folder)
    say(f"restored {folders:,} directories and {restore.count:,} files and others; {failed} failed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--remote", required=True)
    parser.add_argument("--password-file", required=True, type=Path, metavar="FILE")
    parser.add_argument("command", choices=("points", "ls", "restore"))
    parser.add_argument("point", nargs="?", metavar="POINT")
    parser.add_argument("path", nargs="?", default="", metavar="PATH")
    parser.add_argument("--to", type=Path, metavar="DIR")
    asked = parser.parse_intermixed_args()
    if (asked.command != "points" and not asked.point) or (asked.command == "restore" and asked.to is None):
        parser.error("ls needs a POINT, restore a POINT and --to DIR")
    path = b"/".join(filter(None, os.fsencode(asked.path).split(b"/")))
    try:
        globals()["zstd"] = find_zstd()
        remote = Remote(asked.remote, asked.password_file)
        with tempfile.TemporaryDirectory() as folder:
            if why := remote.copy("points", Path(folder)):
                failure("data/points", why)
            chains = read_chains(Path(folder), remote.repository)
            if asked.command == "points":
                show_points(chains)
            elif asked.command == "ls":
                list_directory(remote, Overlay(find_point(chains, asked.point)), path)
            else:
                restore_point(remote, find_point(chains, asked.point), path, asked.to)
    except Stop as error:
        say(f"recover: {error}")
        return 2
    except OSError as error:
        say(f"recover: {error}; once that is mended the same command goes on from here")
        return 2
    except KeyboardInterrupt:
        say("recover: interrupted; the same command goes on from here")
        return 130
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
