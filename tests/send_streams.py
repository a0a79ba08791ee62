"""Send streams built byte by byte from struct dmu_replay_record."""

import stat
import struct

MAGIC = 0x2F5BACBAC
END_OF_FILE = (1 << 64) - 1
FILE, DIRECTORY, MASTER_NODE, DELETE_QUEUE = 19, 20, 21, 22


class Writer:
    """Writes records as the kernel lays them out: 312 bytes each, payload behind."""

    def __init__(self, order="<"):
        self.order = order
        self.parts = []

    def record(self, kind, fields, payload=b"", payload_length=0):
        record = bytearray(312)
        struct.pack_into(self.order + "II", record, 0, kind, payload_length)
        for offset, (code, value) in fields.items():
            struct.pack_into(self.order + code, record, offset, value)
        self.parts += [bytes(record), payload]
        return self

    def begin(self, *, header=1, features=0, objset=2, magic=MAGIC, payload=b""):
        fields = {8: ("Q", magic), 16: ("Q", header | features << 2), 24: ("Q", 1795426656),
                  32: ("I", objset), 40: ("Q", 0xB), 48: ("Q", 0xA)}  # fmt: skip
        return self.record(0, fields, payload, len(payload))

    def object(self, number, kind=FILE, bonus=b"", *, raw=0, payload=None):
        fields = {8: ("Q", number), 16: ("I", kind), 20: ("I", 44), 24: ("I", 131072), 28: ("I", len(bonus)),
                  36: ("I", raw), 40: ("Q", 0xB)}  # fmt: skip
        return self.record(1, fields, pad(bonus) if payload is None else payload)

    def freeobjects(self, first, count):
        return self.record(2, {8: ("Q", first), 16: ("Q", count), 24: ("Q", 0xB)})

    def write(self, number, offset, length, *, compressed=None, kind=FILE):
        fields = {8: ("Q", number), 16: ("I", kind), 24: ("Q", offset), 32: ("Q", length), 40: ("Q", 0xB)}
        if compressed is not None:
            fields |= {50: ("B", 16), 96: ("Q", compressed)}
        return self.record(3, fields, b"\xa5" * (length if compressed is None else compressed))

    def free(self, number, offset, length):
        return self.record(4, {8: ("Q", number), 16: ("Q", offset), 24: ("Q", length), 32: ("Q", 0xB)})

    def end(self):
        return self.record(5, {8: ("Q", 0x1234), 40: ("Q", 0xB)})

    def spill(self, number, length, *, compressed=0, unmodified=False):
        fields = {8: ("Q", number), 16: ("Q", length), 24: ("Q", 0xB), 32: ("B", 4 if unmodified else 0),
                  40: ("Q", compressed), 84: ("I", 44)}  # fmt: skip
        return self.record(7, fields, b"\x5a" * (compressed or length))

    def embedded(self, number, offset, length, size):
        fields = {8: ("Q", number), 16: ("Q", offset), 24: ("Q", length), 32: ("Q", 0xB), 40: ("B", 15),
                  48: ("I", length), 52: ("I", size)}  # fmt: skip
        return self.record(8, fields, pad(b"\x11" * size))

    def object_range(self, first, slots):
        return self.record(9, {8: ("Q", first), 16: ("Q", slots), 24: ("Q", 0xB)})

    @property
    def data(self):
        return b"".join(self.parts)


def pad(data):
    return data + bytes(-len(data) % 8)


def znode(order="<", *, mode=stat.S_IFREG | 0o644, size=0, generation=7, flags=0, ctime=(0, 0), links=1,
          header=8):  # fmt: skip
    """The SA bonus buffer: magic, layout and header size, then mode, size, gen, uid, gid, parent, flags,
    atime, mtime, ctime, crtime, links."""
    head = struct.pack(order + "IH", 0x2F505A, header // 8 << 10 | 2)
    values = (mode, size, generation, 1000, 1000, 34, flags, 1, 2, 3, 4, *ctime, 5, 6, links)
    return head.ljust(header, b"\0") + struct.pack(order + "16Q", *values)
