"""What a restic repository holds, made without restic: sealed frames, key files, indexes, a tree."""

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

from zdiffsync.errors import IntegrityError, ObjectMissingError
from zdiffsync.format.zstd import compress

TREE = json.dumps({"nodes": [
    {"name": "a\\xff\\n", "type": "file", "mode": 0o644, "mtime": "2026-11-24T05:08:56.193459433+01:00",
     "uid": 1, "gid": 2, "inode": 7, "size": 9, "links": 1, "content": ["ab" * 32, "cd" * 32],
     "extended_attributes": [{"name": "user.x", "value": "AP8="}]},
    {"name": "d", "type": "dir", "mode": 1 << 31 | 0o755, "mtime": "0000-01-01T00:00:00Z", "uid": 0, "gid": 0,
     "inode": 8, "content": None, "subtree": "ef" * 32},
    {"name": "l", "type": "symlink", "mode": 1 << 27 | 0o777, "mtime": "9999-12-31T23:59:59Z",
     "uid": 0, "gid": 0, "inode": 9, "linktarget": "d", "links": 1},
]}).encode()  # fmt: skip
MASTER = os.urandom(32), os.urandom(16), os.urandom(16)


def seal(key, content):
    encryption, mac_k, mac_r = key
    nonce = os.urandom(16)
    sealed = Cipher(AES(encryption), CTR(nonce)).encryptor().update(content)
    pad = Cipher(AES(mac_k), ECB()).encryptor().update(nonce)
    return nonce + sealed + Poly1305.generate_tag(mac_r + pad, sealed)


def index_of(blobs):
    """Return an index file: {pack: [(blob, offset, length, plain)]}."""
    packs = [
        {"id": pack.hex(), "blobs": [
            {"id": blob.hex(), "type": "data", "offset": offset, "length": length}
            | ({"uncompressed_length": plain} if plain else {})
            for blob, offset, length, plain in inside
        ]}
        for pack, inside in blobs.items()
    ]  # fmt: skip
    return json.dumps({"packs": packs}).encode()


def key_file(**changes):
    derived = hashlib.scrypt(b"secret", salt=b"salt", n=16, r=8, p=1, dklen=64)
    master = {"mac": {"k": "A" * 22 + "==", "r": "B" * 22 + "=="}, "encrypt": "C" * 43 + "="}
    master |= changes.pop("master", {})
    sealed = seal((derived[:32], derived[32:48], derived[48:]), json.dumps(master).encode())
    fields = {"kdf": "scrypt", "N": 16, "r": 8, "p": 1, "salt": "c2FsdA==", "data": _base64(sealed)}
    return json.dumps(fields | changes).encode()


def _base64(data):
    return base64.b64encode(data).decode()


CONTENT = b"a file of the base, " * 40, bytes(5000)
KEY_FILE = key_file()
MASTER_KEY = (
    base64.b64decode("C" * 43 + "="),
    base64.b64decode("A" * 22 + "=="),
    base64.b64decode("B" * 22 + "=="),
)
INNER = {"name": "f", "type": "file", "mode": 0o644, "mtime": "2026-11-24T05:08:56Z", "uid": 1, "gid": 2,
         "inode": 7, "size": sum(map(len, CONTENT)), "links": 1,
         "content": [hashlib.sha256(each).hexdigest() for each in CONTENT]}  # fmt: skip
OUTER = {"name": "d", "type": "dir", "mode": 1 << 31 | 0o755, "mtime": "2026-11-24T05:08:56Z", "uid": 0,
         "gid": 0, "inode": 8}  # fmt: skip


class Repository:
    """A repository in memory as restic would have made it; `change` may give another value to each part.

    It is an Area to those who read it.
    """

    def __init__(self, change=lambda _part, value: value):
        self.files = {}
        inner = change("tree", json.dumps({"nodes": [INNER]}).encode())
        subtree = {"subtree": hashlib.sha256(inner).hexdigest()}
        outer = change("root", json.dumps({"nodes": [OUTER | subtree]}).encode())
        pack, places = b"", []
        for data in (*CONTENT, inner, outer):
            sealed = seal(MASTER_KEY, change("blob", compress(data)))
            places.append((hashlib.sha256(data).digest(), len(pack), len(sealed), len(data)))
            pack += sealed
        name = hashlib.sha256(pack).digest()
        self.files[f"restic/data/{name.hex()[:2]}/{name.hex()}"] = pack
        self._stored("index", change("index", index_of({name: places})))
        root = json.dumps({"tree": hashlib.sha256(outer).hexdigest()}).encode()
        self.snapshot = self._stored("snapshots", change("snapshot", root))
        self.files["restic/config"] = seal(MASTER_KEY, change("config", b'{"version":2}'))
        self.files["restic/keys/" + "0" * 64] = change("key", KEY_FILE)

    def _stored(self, folder, data):
        frame = seal(MASTER_KEY, b"\x02" + compress(data))
        name = hashlib.sha256(frame).hexdigest()
        self.files[f"restic/{folder}/{name}"] = frame
        return name

    def sizes(self, prefix):
        return {name: len(data) for name, data in self.files.items() if name.startswith(prefix + "/")}

    def read_all(self, name, most):
        if name not in self.files:
            raise ObjectMissingError(f"{name} is not there")
        assert len(self.files[name]) <= most
        return self.files[name]

    def read_up_to(self, name, offset, length):
        return self.read_all(name, 1 << 30)[offset : offset + length]

    def read(self, name, offset, length):
        data = self.read_up_to(name, offset, length)
        if len(data) != length:
            raise IntegrityError(f"{name} is truncated")
        return data
