"""Writing what waits for its upload: packs and manifests.

Around every such write. A run leaves out a file that it cannot read and goes on; a disk that is full must
not look like such a file. Rule: what cannot be written here ends the run.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from zdiffsync.errors import StagingError


@contextmanager
def staging(place: str | os.PathLike[str]) -> Iterator[None]:
    """Raise StagingError for an OSError of the body; `place` is what it writes."""
    try:
        yield
    except OSError as error:
        raise StagingError(
            f"cannot write {os.fspath(place)}: {error.strerror}; make room there or set staging_dir"
        ) from error
