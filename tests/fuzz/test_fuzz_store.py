"""What stands plainly on the remote, or is listed there: names, the mark, the canary, lists of prune's."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from mutations import damaged_json, fuzz, mutated, refused
from zdiffsync.store.condemned import read_condemned
from zdiffsync.store.names import current_manifests, pack_name, parse_manifest_name, parse_pack_name
from zdiffsync.store.repository import FORMAT, _check_canary, _identify

MARK = {"format": FORMAT, "repository": "ab" * 16, "created": "2026-11-24T05:08:56Z"}
CHAIN = "points/0123456789abcdef/"
NAMES = [CHAIN + name for name in ("000000-000000.0.manifest", "000001-000004.0.manifest",
                                   "000001-000001.0.manifest", "000001-000004.2.manifest",
                                   "000005-000005.0.manifest")]  # fmt: skip
PACK = "packs/ab/" + "ab" * 16


def text(data):
    return data.decode("utf-8", "surrogateescape")


@fuzz("object names")
@given(mutated(*(name.encode() for name in [*NAMES, PACK])).map(text))
def test_a_name_is_that_of_an_object_or_refused(name):
    def manifest():
        assert str(parse_manifest_name(name)) == name

    def pack():
        assert pack_name(parse_pack_name(name)) == name

    return refused(manifest) & refused(pack)


@fuzz("lists of manifests")
@given(
    st.lists(
        st.one_of(st.sampled_from(NAMES), mutated(*map(str.encode, NAMES), most=2).map(text)), max_size=8
    )
)
def test_manifests_lie_end_to_end_or_are_refused(names):
    def check():
        for chain, current in current_manifests(map(parse_manifest_name, names)).items():
            assert all(each.chain == chain for each in current)
            assert [each.first for each in current] == [0, *(each.last + 1 for each in current[:-1])]

    return refused(check)


@fuzz("mark")
@given(st.one_of(
    mutated(json.dumps(MARK).encode()), damaged_json(MARK).map(lambda value: json.dumps(value).encode()),
    st.just(b"[" * 60_000),
))  # fmt: skip
def test_a_mark_is_ours_or_refused(mark):
    def check():
        identifier, created = _identify("/remote", mark, None)
        assert len(bytes.fromhex(identifier)) == 16
        assert len(created) <= 64

    return refused(check)


CANARY = bytes(range(32)) + hashlib.sha256(bytes(range(32))).digest()


@fuzz("canary")
@given(mutated(CANARY))
def test_a_canary_is_right_or_refused(data):
    def check():
        _check_canary("/remote", lambda: data, None)
        assert hashlib.sha256(data[:32]).digest() == data[32:]

    return refused(check)


class OneObject:
    """An area with one object."""

    def __init__(self, name, data):
        self.name, self.data = name, data

    def sizes(self, _prefix):
        return {self.name: len(self.data)}

    def read_all(self, _name, most):
        return self.data[:most]


CONDEMNED = "condemned/20261124T050856Z-0123abcd"
LIST = {"packs": ["ab" * 16], "bases": ["cd" * 32]}


@fuzz("lists of prune's")
@given(mutated(CONDEMNED.encode(), most=1).map(text) | st.just(CONDEMNED), st.one_of(
    mutated(json.dumps(LIST).encode()), damaged_json(LIST).map(lambda value: json.dumps(value).encode()),
))  # fmt: skip
def test_a_list_names_packs_and_bases_or_is_refused(name, data):
    def check():
        for found in read_condemned(OneObject(name, data)):
            assert all(len(bytes.fromhex(pack)) == 16 for pack in found.packs)
            assert all(len(bytes.fromhex(base)) == 32 for base in found.bases)

    return refused(check)
