"""What a delta may cost: the one place where time is weighed against bytes.

Rule: a price is in seconds; bytes count by the time their upload takes, CPU time by `cpu_price`.
"""

from dataclasses import dataclass

from zdiffsync.errors import ConfigError
from zdiffsync.format.delta_table import MAX_OP_LENGTH
from zdiffsync.format.zstd import QUICKEST

_LEAST_WINDOW = 64 << 10
# Bytes a second. Two cores keep up with the one at zstd's level 9, with the other at level 3.
_SLOW_LINE, _FAST_LINE = 20e6, 50e6


@dataclass(frozen=True, slots=True)
class DeltaPolicy:
    """Settings of one encoding.

    `window`: most bytes of the new version one patch covers (64 KiB to 16 MiB); `whole_window`: the same for
    contents that stand alone. `upload_bytes_per_second`: what the line does; `cpu_price`: seconds of
    uploading that one CPU second is worth (little: CPUs work beside the upload, and bytes stay stored);
    `strong_bytes_per_second`: what bsdiff and zstd's strongest level do of both versions, on one core;
    `head_start`: bytes; a run may take for them the time in which these and all it has stored are uploaded.
    `bsdiff_seconds`: when a bsdiff is given up. A delta larger than `whole_share` of the compressed whole is
    not kept.
    """

    window: int = 4 << 20
    whole_window: int = 1 << 20
    upload_bytes_per_second: float = 7.5e6
    cpu_price: float = 0.0002
    strong_bytes_per_second: float = 3e6
    head_start: float = 225e6
    bsdiff_seconds: float = 20.0
    whole_share: float = 0.5

    def __post_init__(self) -> None:
        for window in (self.window, self.whole_window):
            if not _LEAST_WINDOW <= window <= MAX_OP_LENGTH:
                raise ConfigError(
                    f"a window of {window} bytes cannot be used: choose {_LEAST_WINDOW} to {MAX_OP_LENGTH}"
                )

    @property
    def level(self) -> int:
        """What zstd does first: on a fast line the next step up takes longer than uploading what it saves."""
        if self.upload_bytes_per_second < _SLOW_LINE:
            return 9
        return 3 if self.upload_bytes_per_second < _FAST_LINE else QUICKEST

    def strong_pays(self, saved: float, length: int) -> bool:
        """Return whether to pack `length` bytes of both versions strongly, which saves `saved` bytes."""
        fast = self.upload_bytes_per_second >= _FAST_LINE
        return not fast and self.pays(saved, length / self.strong_bytes_per_second)

    def pays(self, saved: float, seconds: float) -> bool:
        """Return whether saving `saved` bytes is worth so many CPU seconds."""
        return saved / self.upload_bytes_per_second > seconds * self.cpu_price

    def affords(self, spent: float, stored: int, workers: int) -> bool:
        """Return whether a run that spent so many CPU seconds on strong forms of `stored` bytes may go on."""
        return spent < workers * (self.head_start + stored) / self.upload_bytes_per_second
