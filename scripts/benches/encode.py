"""One delta as a run makes it, in a process of its own, timed inside it.

Usage: encode.py OLD NEW STAGE BYTES_PER_SECOND [EXTENTS.json]. Prints seconds and bytes of packs as JSON.
Rule: the encoder, pool, packer and settings are those of a run; only the store behind them is missing.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic

from zdiffsync.backup.contents import ContentSettings
from zdiffsync.backup.packer import CountingSink, Packer
from zdiffsync.external.files import FileSource
from zdiffsync.format.delta_encode import encode_windows
from zdiffsync.format.delta_pool import DeltaPool
from zdiffsync.format.manifest import PackRecord


def main(old: str, new: str, stage: str, rate: str, extents: str | None = None) -> None:
    """Encode and print."""
    packs: list[PackRecord] = []
    known = None if extents is None else json.loads(Path(extents).read_text(encoding="ascii"))
    policy = replace(ContentSettings().policy, upload_bytes_per_second=float(rate))
    started = monotonic()
    with (
        Path(old).open("rb") as before,
        Path(new).open("rb") as after,
        DeltaPool() as pool,
        Packer(Path(stage), 64 << 20, packs.append) as packer,
    ):
        sink = CountingSink(packer)
        encoded = encode_windows(
            FileSource(after.fileno()), FileSource(before.fileno()), sink, extents=known, data_ranges=None,
            pool=pool, policy=policy, progress=lambda _: None,
        )  # fmt: skip
        sink.put(encoded.table)
        packer.flush()
        seconds = monotonic() - started
    sys.stdout.write(json.dumps({"seconds": seconds, "bytes": sum(pack.size for pack in packs)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
