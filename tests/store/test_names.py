"""Object names go both ways, and nothing else is taken for one."""

import pytest

from zdiffsync.errors import IntegrityError
from zdiffsync.external.rclone_upload import check_name
from zdiffsync.store.names import manifest_name, new_pack_id, pack_name, parse_manifest_name, parse_pack_name


def test_packs():
    pack = new_pack_id()
    assert pack != new_pack_id()
    name = check_name(pack_name(pack))
    assert name == f"packs/{pack[:2]}/{pack}"
    assert parse_pack_name(name) == pack


@pytest.mark.parametrize("sequence", [0, 7, 999_999, 1_000_000])
def test_manifests(sequence):
    name = check_name(manifest_name("0123456789abcdef", sequence))
    assert parse_manifest_name(name) == ("0123456789abcdef", sequence)


def test_manifests_sort_by_sequence():
    assert manifest_name("a" * 16, 9) < manifest_name("a" * 16, 10)


@pytest.mark.parametrize(
    "name", ["", "packs/ab/x", "packs/ab/" + "cd" * 16, "packs/AB/" + "AB" * 16, "x/packs/ab/" + "ab" * 16]
)
def test_no_pack(name):
    with pytest.raises(IntegrityError, match="is no pack"):
        parse_pack_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "points/x/000001.manifest", f"points/{'a' * 16}/1.manifest", f"points/{'a' * 16}/000001.manifest.x"],
)
def test_no_manifest(name):
    with pytest.raises(IntegrityError, match="is no manifest"):
        parse_manifest_name(name)
