"""Putting a manifest on the remote, so that it can be believed to be there.

The commit of a run, and of whatever makes manifests anew. Rule: a manifest counts once its bytes have been
read back; a name under which something lies is not used, whatever it is.
"""

import filecmp
from dataclasses import replace
from itertools import count
from pathlib import Path

from zdiffsync.errors import RemoteError
from zdiffsync.model.staging import staging
from zdiffsync.store.area import Area
from zdiffsync.store.names import ManifestName


def free_name(area: Area, name: ManifestName) -> ManifestName:
    """Return `name`, or with a higher revision where an upload that broke off has left something."""
    names = (replace(name, revision=revision) for revision in count(name.revision))
    return next(each for each in names if area.size(str(each)) is None)


def upload_manifest(area: Area, stage: Path, name: ManifestName) -> None:
    """Upload the manifest that stands below `stage` under its name.

    Raises RemoteError, IntegrityError: then something may lie there that is no manifest. StagingError.
    """
    area.upload(stage, [str(name)], lambda _done: None)
    back = stage / "read back"
    with staging(back):
        area.download(str(name), back, lambda _done: None)
        same = filecmp.cmp(stage / str(name), back, shallow=False)
        back.unlink()
    if not same:
        raise RemoteError(f"{name} has other bytes after its upload; run again")
