"""Object names go both ways, and nothing else is taken for one."""

import pytest

from zdiffsync.errors import ChainError, IntegrityError
from zdiffsync.external.rclone_upload import check_name
from zdiffsync.store.names import (
    ManifestName,
    current_manifests,
    new_pack_id,
    pack_name,
    parse_manifest_name,
    parse_pack_name,
)

CHAIN = "0123456789abcdef"


def test_packs():
    pack = new_pack_id()
    assert pack != new_pack_id()
    name = check_name(pack_name(pack))
    assert name == f"packs/{pack[:2]}/{pack}"
    assert parse_pack_name(name) == pack


@pytest.mark.parametrize("sequence", [0, 7, 999_999, 1_000_000])
def test_manifests(sequence):
    name = ManifestName(CHAIN, sequence, sequence + 3, 12)
    assert parse_manifest_name(check_name(str(name))) == name


def test_a_wider_or_newer_manifest_holds_instead():
    old, newer, wide = ManifestName(CHAIN, 3, 3), ManifestName(CHAIN, 3, 3, 1), ManifestName(CHAIN, 2, 3)
    assert newer.supersedes(old)
    assert wide.supersedes(newer)
    assert not old.supersedes(old)
    assert not newer.supersedes(wide)
    assert not ManifestName("b" * 16, 2, 3).supersedes(old)


def test_the_current_manifests_of_chains_lie_end_to_end():
    other = ManifestName("b" * 16, 0, 0)
    names = [ManifestName(CHAIN, first, last, revision) for first, last, revision in (
        (0, 0, 0), (1, 1, 0), (2, 2, 0), (1, 2, 0), (1, 2, 1), (3, 3, 0), (3, 3, 10), (3, 3, 9), (0, 0, 1),
    )]  # fmt: skip
    expected = [ManifestName(CHAIN, *each) for each in ((0, 0, 1), (1, 2, 1), (3, 3, 10))]
    assert current_manifests([*names, other]) == {CHAIN: expected, "b" * 16: [other]}


@pytest.mark.parametrize("ranges", [[(1, 1)], [(0, 0), (2, 2)], [(0, 1), (1, 2)]])
def test_a_gap_or_an_overlap_of_manifests_is_an_error(ranges):
    with pytest.raises(ChainError, match="has no manifest that begins with point"):
        current_manifests([ManifestName(CHAIN, *each) for each in ranges])


@pytest.mark.parametrize(
    "name", ["", "packs/ab/x", "packs/ab/" + "cd" * 16, "packs/AB/" + "AB" * 16, "x/packs/ab/" + "ab" * 16]
)
def test_no_pack(name):
    with pytest.raises(IntegrityError, match="is no pack"):
        parse_pack_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "points/x/000001-000001.0.manifest",
        f"points/{CHAIN}/000001.manifest",
        f"points/{CHAIN}/1-1.0.manifest",
        f"points/{CHAIN}/000001-000001.0.manifest.x",
        f"points/{CHAIN}/000002-000001.0.manifest",
        f"points/{CHAIN}/0000001-000001.0.manifest",
        f"points/{CHAIN}/000001-000001.00.manifest",
    ],
)
def test_no_manifest(name):
    with pytest.raises(IntegrityError, match="is no manifest"):
        parse_manifest_name(name)
