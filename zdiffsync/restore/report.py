"""What a restore did, counted by many threads. Rule: a failure is told with its path, a warning once."""

from dataclasses import dataclass, field
from threading import Lock


@dataclass(slots=True)
class RestoreReport:
    """Sizes in bytes. `failed` holds (path, reason) of what could not be given back whole.

    `local` are the bytes that came from local snapshots, `refused` how often some of them were not the
    right ones, `downloaded` what came from the remote; `resumed`: an interrupted restore was continued.
    """

    files: int = 0
    directories: int = 0
    others: int = 0
    bytes_restored: int = 0
    kept: int = 0
    local: int = 0
    refused: int = 0
    downloaded: int = 0
    resumed: bool = False
    failed: list[tuple[bytes, str]] = field(default_factory=list)
    damaged: bool = False
    warnings: dict[str, int] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock, repr=False)

    def warn(self, text: str) -> None:
        """Count a warning; each is shown once."""
        with self.lock:
            self.warnings[text] = self.warnings.get(text, 0) + 1

    def fail(self, path: bytes, reason: str, *, damaged: bool) -> None:
        """Note that `path` could not be given back."""
        with self.lock:
            self.failed.append((path, reason))
            self.damaged |= damaged
