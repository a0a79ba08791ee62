"""Damage for fuzz tests: valid bytes and valid JSON, changed in the ways that parsers do not expect.

`@fuzz("target")` runs a test on a few examples, always the same; with ZDIFFSYNC_EXAMPLES on so many new ones.
ZDIFFSYNC_FUZZ_COUNTS names a file that gets, for each target, how often it ran and how often it refused.
"""

import atexit
import functools
import json
import os
import time
from collections import Counter
from copy import deepcopy

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from zdiffsync.errors import ZdiffsyncError

EXAMPLES = os.environ.get("ZDIFFSYNC_EXAMPLES")
COUNTS = os.environ.get("ZDIFFSYNC_FUZZ_COUNTS")
_FEW = 150
_KINDS = ("flip", "set", "insert", "delete", "double", "cut", "splice", "number", "swap")
_NUMBERS = (b"\0" * 8, b"\xff" * 8, b"\xff" * 4, b"\x7f", b"\x80" * 9, b"\0\0\0\x80", b"\xff\xff\xff\x7f")
_counts: dict[str, Counter] = {}


def fuzz(target, few=_FEW):
    """Wrap a test made by `given`; it returns True when the input was refused with one of our errors."""

    def wrap(test):
        inner = test.hypothesis.inner_test
        count = _counts.setdefault(target, Counter())

        @functools.wraps(inner)
        def counted(*args, **options):
            began = time.perf_counter()
            try:
                count["refused"] += bool(inner(*args, **options))
            finally:
                count["runs"] += 1
                count["seconds"] += time.perf_counter() - began

        test.hypothesis.inner_test = counted
        return settings(
            max_examples=int(EXAMPLES or few), derandomize=EXAMPLES is None, deadline=None,
            suppress_health_check=list(HealthCheck), database=None,
        )(test)  # fmt: skip

    return wrap


def refused(work, *args):
    """Call `work`; True when it refuses with one of our errors. Any other exception fails the test."""
    try:
        work(*args)
    except ZdiffsyncError as error:
        text = str(error)
        assert text, "an error says what is wrong"
        return True
    return False


def mutated(*samples, most=5):
    """Give one of the samples with some bytes changed, seldom bytes that have nothing to do with them."""
    edit = st.tuples(
        st.sampled_from(_KINDS), st.integers(0, (1 << 20) - 1), st.integers(0, 255), st.binary(max_size=6)
    )
    changed = st.builds(
        _edited, st.sampled_from(samples), st.lists(edit, min_size=1, max_size=most), st.sampled_from(samples)
    )
    return st.one_of(changed, changed, changed, changed, changed, changed, changed, st.binary(max_size=300))


def _edited(sample, edits, other):
    data = bytearray(sample)
    for kind, where, number, extra in edits:
        at = where % (len(data) + 1)
        end = min(len(data), at + 1 + number)
        match kind:
            case "insert":
                data[at:at] = extra
            case "splice":
                start = where % (len(other) + 1)
                data[at:end] = other[start : start + number]
            case "number":
                word = _NUMBERS[number % len(_NUMBERS)]
                data[at : at + len(word)] = word
            case "cut":
                del data[at:]
            case "delete":
                del data[at:end]
            case "double":
                data[at:at] = data[at:end]
            case "swap":
                data[at:end] = data[at:end][::-1]
            case "flip" | "set" if at < len(data):
                data[at] = number if kind == "set" else data[at] ^ 1 << number % 8
    return bytes(data)


def _deep(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


ODD = (
    None, True, False, 0, 1, -1, 2, 3, 255, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63, 1 << 64, -(1 << 63) - 1,
    10**400, 1.5, 1e300, float("nan"), float("inf"), "", "x", ".", "..", "../x", "a/b", "/abs", "a//b", "\0",
    "a\0b", "\n\x1b[2J", "\udcff", "\ud800", "é", "0" * 16, "0" * 32, "0" * 64, "ab" * 32, "-rf", "g" * 64,
    "9" * 5000, [], {}, [[]], [1, 2, 3], [None], {"a": {"b": []}}, ["x"] * 50, _deep(60), "QQ==", "!",
)  # fmt: skip


def damaged_json(*samples, most=3):
    """Give one of the JSON values with some values replaced, taken away, doubled or moved."""
    edit = st.tuples(
        st.sampled_from(["replace", "remove", "copy", "rename", "number"]), st.integers(0, (1 << 30) - 1),
        st.integers(0, (1 << 30) - 1), st.integers(-3, 3),
    )  # fmt: skip
    return st.builds(
        lambda sample, edits: _altered(samples[sample], edits), st.integers(0, len(samples) - 1),
        st.lists(edit, min_size=1, max_size=most),
    )  # fmt: skip


def _altered(sample, edits):
    value = json.loads(json.dumps(sample))
    for kind, where, what, shift in edits:
        places = list(_places(value))
        if not places:
            break
        holder, key = places[where % len(places)]
        if kind == "remove":
            del holder[key]
        elif kind == "copy":
            other, theirs = places[what % len(places)]
            holder[key] = json.loads(json.dumps(other[theirs]))
        elif kind == "number" and isinstance(holder[key], int):
            holder[key] += shift
        elif kind == "rename" and isinstance(holder, dict):
            holder[("other", "", "end", "\ud800")[what % 4]] = holder.pop(key)
        else:
            holder[key] = deepcopy(ODD[what % len(ODD)])
    return value


def _places(value):
    """Give (holder, key) of everything in a JSON value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


@atexit.register
def _write_counts():
    if COUNTS and any(_counts.values()):
        with open(COUNTS, "w", encoding="ascii") as file:
            json.dump(_counts, file)
