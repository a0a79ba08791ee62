"""Bringing the catalog up to the remote: manifests that were committed but never taken in.

First thing a run does. A crash between commit and catalog, a deleted catalog, another host: all end
here. Rule: the remote is right; the catalog follows.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from zdiffsync.catalog.catalog import Catalog
from zdiffsync.format.manifest import read_manifest
from zdiffsync.model.progress import ProgressFactory
from zdiffsync.store.names import parse_manifest_name
from zdiffsync.store.store import Store


def sync_catalog(store: Store, catalog: Catalog, progress: ProgressFactory) -> int:
    """Apply every manifest the catalog lacks, each chain in order; return how many.

    Raises RemoteError, IntegrityError for a damaged manifest, UsageError for one of a newer format.
    """
    known = catalog.manifests()
    names = {parse_manifest_name(name): name for name in store.data.sizes("points")}
    missing = sorted(key for key in names if key not in known)
    if not missing:
        return 0
    with progress("reading manifests", len(missing), unit="points") as bar, TemporaryDirectory() as folder:
        path = Path(folder) / "manifest"
        for key in missing:
            store.data.download(names[key], path, lambda _done: None)
            catalog.apply(read_manifest(path))
            bar.advance(1)
    return len(missing)
