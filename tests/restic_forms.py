"""What a restic repository holds, made without restic: sealed frames, key files, indexes, a tree."""

import base64
import hashlib
import json
import os

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305

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
