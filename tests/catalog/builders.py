"""Manifests for catalog tests, as `read_manifest` would give them."""

from zdiffsync.format.manifest import ContentRecord, Header, Summary
from zdiffsync.format.windows import BlobRef
from zdiffsync.model.entry import Entry, EntryType

CHAIN = "c" * 16


def point_key(sequence, chain=CHAIN):
    return f"{chain[:4]}{sequence:012x}"


def manifest(sequence, records=(), *, chain=CHAIN, dataset="tank/data", stats=None):
    header = Header(
        repository="r" * 32, chain=chain, first=sequence, sequence=sequence, point=point_key(sequence, chain),
        dataset=dataset, dataset_guid=2**64 - 7, host="host", snapshot=f"{dataset}@z{sequence}",
        guid=2**63 + sequence, createtxg=100 + sequence, created_ns=(1_700_000_000 + sequence) * 10**9,
        parent_guid=2**63 + sequence - 1 if sequence else None, restic="e" * 64,
        base_ns=None if sequence else 1_700_000_000 * 10**9, excludes="f" * 16,
    )  # fmt: skip
    return [header, *records, Summary(stats or {})]


def file_entry(tag=0, **more):
    return Entry(EntryType.FILE, 0o644, 1000, 1000, tag, size=tag, **more)


def directory_entry(tag=0):
    return Entry(EntryType.DIRECTORY, 0o755, 0, 0, tag)


def content(number, pack="a" * 32, **more):
    return ContentRecord(number, 5, f"{number:064x}", False, BlobRef(pack, 8 * number, 8), {pack: 8}, **more)
