"""Sending staged objects by whichever way is quicker: the running rclone, or the upload engine.

Behind store.Area.upload. Starting rclone-python and its rclone takes 0.3 s (docs/performance.md), most of
what a nightly pack and its manifest need; from some megabytes on its retries and progress are worth that.
Rule: the quick way never replaces an object, and whatever it cannot do the engine does, or says why not.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from zdiffsync.errors import RemoteError
from zdiffsync.external.rclone_daemon import RcloneDaemon
from zdiffsync.external.rclone_upload import upload

_SMALL = 4 << 20  # bytes in all; a call gives no sign of life before it is done


def send(
    daemon: RcloneDaemon,
    fs: str,
    stage: Path,
    sizes: Mapping[str, int],
    progress: Callable[[int], None],
    *,
    transfers: int,
) -> None:
    """Copy the files `sizes` (name: bytes) of the folder `stage` to the same names under `fs`.

    `progress` gets the bytes moved since it was called last. Raises what `upload` raises.
    """
    left = dict(sizes)
    if sum(sizes.values()) <= _SMALL:
        with ThreadPoolExecutor(transfers) as pool:
            done = pool.map(lambda name: _sent(daemon, fs, stage, name), sizes)
            for name in [name for name, sent in zip(sizes, done, strict=True) if sent]:
                progress(left.pop(name))
    if left:
        upload(daemon.setup, fs, stage, list(left), progress)


def _sent(daemon: RcloneDaemon, fs: str, stage: Path, name: str) -> bool:
    try:
        if daemon.size(fs, name) is not None:
            return False
        daemon.call("operations/copyfile", srcFs=str(stage), srcRemote=name, dstFs=fs, dstRemote=name)
    except RemoteError:
        return False
    return True
