"""The tripwire: a night that destroys so much that a person should look before it becomes a point.

Between detection and commit: the judgement, of figures alone; `backup.since` gathers them.
Rule: neither a few files are unusual, nor what more than one night of the past has done.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

from zdiffsync.backup.samples import Samples
from zdiffsync.backup.tripwire_settings import TripwireSettings
from zdiffsync.errors import ExitCode, ZdiffsyncError

_SHORT_HISTORY = 3  # points; with fewer nobody knows what is usual
_TIMES_USUAL = 2
_FEWEST_SAMPLES = 16
_NEARLY_ALL = 0.8


@dataclass(frozen=True, slots=True)
class Night:
    """What changed from one point to the next, in files."""

    deleted: int
    rewritten: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What is unusual about a night, and its figures in files.

    `files` are those of the last point, None when that is not known; `usual` is an ordinary night;
    `extension` is what the names of the rewritten files got added, None: nothing.
    """

    many_deleted: bool
    many_rewritten: bool
    looks_encrypted: bool
    files: int | None
    night: Night
    usual: Night
    samples: Samples
    extension: str | None

    def __str__(self) -> str:
        """Return it as words."""
        return "; ".join(self._parts())

    def _parts(self) -> Iterator[str]:
        total = "" if self.files is None else f" of {self.files:,}"
        if self.many_deleted:
            usual = f"usually about {self.usual.deleted:,} a night"
            yield f"{self.night.deleted:,}{total} files were deleted, {usual}"
        if self.many_rewritten or self.looks_encrypted:
            added = f" and now end in {self.extension!r}" if self.extension else ""
            usual = f"usually about {self.usual.rewritten:,} a night"
            yield f"{self.night.rewritten:,}{total} files were rewritten{added}, {usual}"
        if self.looks_encrypted:
            yield f"{self.samples.encrypted / self.samples.judged:.0%} of the samples look encrypted"


class UnusualChangesError(ZdiffsyncError):
    """A snapshot is not backed up: a person has to say first that its changes are meant."""

    exit_code = ExitCode.INCOMPLETE

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


def judge(
    settings: TripwireSettings,
    night: Night,
    *,
    files: int | None,
    history: Sequence[Night],
    samples: Samples,
    extension: str | None = None,
) -> Finding | None:
    """Return what is unusual about `night`, None when nothing is.

    `files` are those of the last point; `history` has the night of every earlier point, in any order.
    """
    deleted, rewritten = [each.deleted for each in history], [each.rewritten for each in history]
    known = files if len(history) >= _SHORT_HISTORY else None

    def many(count: int, share: float, past: Sequence[int]) -> bool:
        if known is None or count < settings.min_files:
            return False
        return count > max(share * known, _TIMES_USUAL * _second_largest(past))

    finding = Finding(
        many_deleted=many(night.deleted, settings.deleted, deleted),
        many_rewritten=many(night.rewritten, settings.changed, rewritten),
        looks_encrypted=night.rewritten >= settings.min_files
        and samples.judged >= _FEWEST_SAMPLES
        and samples.encrypted >= _NEARLY_ALL * samples.judged,
        files=files,
        night=night,
        usual=Night(median_low(deleted or [0]), median_low(rewritten or [0])),
        samples=samples,
        extension=extension,
    )
    unusual = finding.many_deleted or finding.many_rewritten or finding.looks_encrypted
    return finding if settings.enabled and unusual else None


def _second_largest(counts: Sequence[int]) -> int:
    """Return what happened more than once: a great night that somebody accepted is no habit yet."""
    return sorted(counts)[-2]
