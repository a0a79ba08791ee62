"""What every step of a run works with: the open repository, the catalog, restic and the settings.

Rule: built once by the command line, passed down, never global.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.backup.contents import ContentSettings
from zdiffsync.backup.excludes import Excludes
from zdiffsync.backup.tripwire_settings import TripwireSettings
from zdiffsync.catalog.catalog import Catalog
from zdiffsync.external.restic import Restic
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.model.staging import staging
from zdiffsync.store.store import Store


@dataclass(frozen=True, slots=True)
class DatasetPlan:
    """A dataset the configuration names, with its children when `recursive`.

    `snapshots` are globs for the labels of the snapshots that another tool takes; without any a run takes its
    own.
    """

    name: str
    recursive: bool = False
    excludes: Excludes = field(default_factory=Excludes)
    snapshots: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """How to back up. Sizes in bytes; `base_when_increments_exceed` as a share of the base's size.

    `staging` is where packs wait for their upload, `state` the state directory; bases from before
    `bases_from_ns` (ns since 1970) were found damaged.
    """

    staging: Path
    state: Path
    staging_space: int = 1 << 30
    pack_size: int = 64 << 20
    contents: ContentSettings = field(default_factory=ContentSettings)
    base_every: timedelta = timedelta(days=30)
    base_when_increments_exceed: float = 0.5
    bases_from_ns: int = 0
    workers: int | None = None
    tripwire: TripwireSettings = field(default_factory=TripwireSettings)


@dataclass(frozen=True, slots=True)
class Session:
    """One open repository and all that a run needs to write to it."""

    repository: str
    host: str
    store: Store
    catalog: Catalog
    restic: Restic
    settings: BackupSettings
    progress: ProgressFactory

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty private folder that is gone afterwards; what a killed run left goes first.

        Raises StagingError.
        """
        place = self.settings.staging
        with ExitStack() as stack:
            with staging(place):
                place.mkdir(mode=0o700, parents=True, exist_ok=True)
                for left in place.glob("run-*"):
                    shutil.rmtree(left)
                folder = stack.enter_context(TemporaryDirectory(prefix="run-", dir=place))
            yield Path(folder)
