"""Variable-length integers, the alphabet of op tables and patches.

LEB128 as everybody writes it (seven bits a byte, low bits first); signed numbers are folded (zigzag).
Rule: a field that does not parse, or exceeds what its reader allows, is an IntegrityError that names it.
"""

from zdiffsync.errors import IntegrityError

# Sizes and offsets are those of files: 63 bits, nine bytes of seven bits.
MAX_UINT = (1 << 63) - 1
_MAX_BITS = 63


def put_uint(out: bytearray, value: int) -> None:
    """Append `value` (0 to 2**63-1) to `out`."""
    while value >> 7:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def put_int(out: bytearray, value: int) -> None:
    """Append the signed `value` (magnitude below 2**62) to `out`."""
    put_uint(out, value << 1 if value >= 0 else (-value << 1) - 1)


class Fields:
    """Reads the fields of `data` in order; `what` names the structure in errors."""

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self._what = what

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at

    def uint(self, name: str, limit: int = MAX_UINT) -> int:
        """Return the next unsigned number, at most `limit`; IntegrityError otherwise."""
        value = 0
        for shift in range(0, _MAX_BITS, 7):
            if self._at >= len(self._data):
                raise IntegrityError(f"{self._what} ends within its {name}")
            byte = self._data[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if not byte >> 7:
                if value > limit:
                    raise IntegrityError(f"{self._what} has a {name} of {value}, more than {limit}")
                return value
        raise IntegrityError(f"{self._what} has a {name} of more than {_MAX_BITS} bits")

    def sint(self, name: str) -> int:
        """Return the next signed number; IntegrityError if there is none."""
        folded = self.uint(name)
        return -((folded + 1) >> 1) if folded & 1 else folded >> 1

    def take(self, count: int, name: str) -> bytes:
        """Return the next `count` bytes; IntegrityError if fewer are left."""
        if count > self.left:
            raise IntegrityError(f"{self._what} ends within its {name}")
        self._at += count
        return self._data[self._at - count : self._at]

    def tail(self, count: int, name: str) -> bytes:
        """Return the last `count` bytes, which are then no longer left; IntegrityError if there are fewer."""
        if count > self.left:
            raise IntegrityError(f"{self._what} ends within its {name}")
        cut = len(self._data) - count
        tail = self._data[cut:]
        self._data = self._data[:cut]
        return tail

    def end(self) -> None:
        """Raise IntegrityError if anything is left unread."""
        if self.left:
            raise IntegrityError(f"{self._what} is followed by {self.left} foreign bytes")
