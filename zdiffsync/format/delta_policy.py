"""What a delta may cost: the one place where time is weighed against bytes.

Rule: a price is in seconds; bytes count by the time their upload takes, CPU time by `cpu_price`.
"""

from dataclasses import dataclass

from zdiffsync.errors import ConfigError
from zdiffsync.format.delta_table import MAX_OP_LENGTH

_LEAST_WINDOW = 64 << 10


@dataclass(frozen=True, slots=True)
class DeltaPolicy:
    """Settings of one encoding.

    `window`: most bytes of the new version one patch covers (64 KiB to 16 MiB); `whole_window`: the same for
    contents that stand alone; `level`: of zstd. `upload_bytes_per_second`: what the line does; `cpu_price`:
    seconds of uploading that one CPU second is worth (CPUs work beside the upload, and bytes stay stored
    and are read again); `bsdiff_bytes_per_second`: both versions, on one core; `bsdiff_seconds`: when a
    bsdiff is given up. A delta larger than `whole_share` of the compressed whole is not kept.
    """

    window: int = 4 << 20
    whole_window: int = 1 << 20
    level: int = 3
    upload_bytes_per_second: float = 7.5e6
    cpu_price: float = 0.1
    bsdiff_bytes_per_second: float = 6e6
    bsdiff_seconds: float = 20.0
    whole_share: float = 0.5

    def __post_init__(self) -> None:
        for window in (self.window, self.whole_window):
            if not _LEAST_WINDOW <= window <= MAX_OP_LENGTH:
                raise ConfigError(
                    f"a window of {window} bytes cannot be used: choose {_LEAST_WINDOW} to {MAX_OP_LENGTH}"
                )

    def bsdiff_pays(self, saved: float, length: int) -> bool:
        """Return whether saving `saved` bytes is worth a bsdiff of `length` bytes (of both versions)."""
        seconds = length / self.bsdiff_bytes_per_second
        return saved / self.upload_bytes_per_second > seconds * self.cpu_price
