"""The rules of `forget` against restic's own: the same times and rules, the same points, the same reasons.

Snapshots of three places lie in one repository, each place a host: where the clocks are changed at night
in Europe, in America, and on an island that left out a day. Rule: restic gets no part of our answer.
"""

import hashlib
import json
import os
import random
import subprocess
import time
from base64 import b64decode, b64encode
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR, ECB
from cryptography.hazmat.primitives.poly1305 import Poly1305
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from policy_points import SECOND, Point, local_zone

from zdiffsync.bases.keys import Key
from zdiffsync.maintain.duration import Duration
from zdiffsync.maintain.policy import UNLIMITED, KeepRules, wanted
from zdiffsync.store.secret import Secret

PASSWORD = Secret(b"correct horse")
CHANGES = {  # clock changes, in UTC; and the evening of the newest point that is not from the future
    "Europe/Berlin": ("2024-03-31T01:00Z", "2024-10-27T01:00Z", "2025-04-01T00:30Z"),
    "America/New_York": ("2024-11-03T06:00Z", "2025-03-09T07:00Z", "2025-04-08T06:30Z"),
    "Pacific/Apia": ("2011-12-30T10:00Z", "2012-03-31T14:00Z", "2012-04-30T14:30Z"),
}
INTO_A_CHANGE = [  # so long before one of these newest points the clocks skipped or repeated the time of day
    Duration.parse(text) for text in ("2d", "30d", "1m", "4m2d", "5m5d")
]
FUTURE = ("2090-01-01T12:00Z", "2090-01-01T13:00Z", "2091-06-01T12:00Z")
REFUSED = b"refusing to delete last snapshot"  # what restic says when it would keep none
TAGS = ((), (), ("a",), ("b",), ("a", "b"), ("c",))
RULES = [field for field in KeepRules.__dataclass_fields__ if field != "tags"]


def seconds(text):
    return int(datetime.fromisoformat(text).timestamp())


def points_of(zone):
    """Points at the edges of all periods; those of one moment have the same tags, as restic may mix them."""
    chance = random.Random(zone)
    *changes, newest = map(seconds, CHANGES[zone])
    moments = [change + 1800 * step for change in changes for step in range(-4, 6)]
    moments += [newest - 86400 * day for day in range(11)]
    moments += [seconds(f"{year}-12-28T22:30Z") + 86400 * day for year in (2009, 2010) for day in range(8)]
    moments += [newest - chance.randrange(4 * 365 * 86400) for _ in range(10)]
    moments += chance.sample(moments, 3)
    if zone == "Pacific/Apia":
        moments += map(seconds, FUTURE)
    tags = {moment: chance.choice(TAGS) for moment in moments}
    return [Point(moment * SECOND, tags[moment]) for moment in moments]


class Repository:
    """A real one, whose key costs no time."""

    def __init__(self, home):
        self.home = home
        (home / "file").write_text("content")
        self.restic("init", "--quiet")
        self.make_key_cheap()

    def restic(self, *arguments, zone="UTC"):
        argv = ["restic", "-r", str(self.home / "repository"), "--no-cache", *arguments]
        environment = {"PATH": os.environ["PATH"], "RESTIC_PASSWORD": "correct horse", "TZ": zone}
        done = subprocess.run(argv, check=False, capture_output=True, cwd=self.home, env=environment)
        assert done.returncode == 0 or REFUSED in done.stderr, (arguments, done.stderr)
        return done.stdout

    def make_key_cheap(self):
        """Seal the master key anew, so that opening it takes no half a second of scrypt."""
        [path] = (self.home / "repository/keys").iterdir()
        stored = json.loads(path.read_bytes())
        master = Key(*self.derive(stored)).open(b64decode(stored["data"]))
        stored |= {"N": 2, "r": 1, "p": 1}
        encryption, mac_k, mac_r = self.derive(stored)
        nonce = os.urandom(16)
        sealed = Cipher(AES(encryption), CTR(nonce)).encryptor().update(master)
        pad = Cipher(AES(mac_k), ECB()).encryptor().update(nonce)
        stored["data"] = b64encode(nonce + sealed + Poly1305.generate_tag(mac_r + pad, sealed)).decode()
        text = json.dumps(stored).encode()
        path.unlink()
        path.with_name(hashlib.sha256(text).hexdigest()).write_bytes(text)

    def derive(self, stored):
        key = PASSWORD.derive(
            b64decode(stored["salt"]), n=stored["N"], r=stored["r"], p=stored["p"], length=64, memory=1 << 30
        )
        return key[:32], key[32:48], key[48:]

    def back_up(self, host, point, offset):
        """Make a snapshot of that moment; `offset` in seconds tells apart the hours that clocks repeat."""
        moment = point.created_ns // SECOND
        local = datetime.fromtimestamp(moment + offset, tz=UTC).strftime("%Y-%m-%d %H:%M:%S")
        tags = [word for tag in point.tags for word in ("--tag", tag)]
        self.restic(
            "backup", "--quiet", "--no-scan", "--host", host, "--time", local, *tags, "file",
            zone=f"Etc/GMT{-offset // 3600:+d}",
        )  # fmt: skip

    def forget(self, zone, only, rules):
        """Return the (ns, reasons) of what restic keeps, and how often."""
        answer = self.restic(
            "--no-lock", "forget", "--dry-run", "--json", "--group-by", "",
            "--host", zone, *(("--tag", only) if only else ()), *options(rules), zone=zone,
        )  # fmt: skip
        kept = json.loads(answer)[0]["reasons"] if answer else []
        return Counter(
            (seconds(entry["snapshot"]["time"]) * SECOND, tuple(entry["matches"])) for entry in kept
        )


def options(rules):
    for name in RULES:
        value = getattr(rules, name)
        if value is not None:
            text = "unlimited" if value == UNLIMITED else str(value) or "0h"
            yield from (f"--keep-{name.replace('_', '-')}", text)
    for tags in rules.tags:
        yield from ("--keep-tag", ",".join(tags))


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    made = Repository(tmp_path_factory.mktemp("restic"))
    with ThreadPoolExecutor(8) as pool:  # each waits 0.2 s for locks
        jobs = []
        for zone in CHANGES:
            with local_zone(zone):
                for point in points_of(zone):
                    offset = time.localtime(point.created_ns // SECOND).tm_gmtoff
                    jobs.append(pool.submit(made.back_up, zone, point, offset))
        for job in jobs:
            job.result()
    return made


COUNTS = st.integers(0, 14) | st.just(UNLIMITED)
DURATIONS = st.builds(Duration, *(st.just(0) | st.integers(0, most) for most in (3, 14, 40, 50)))
DURATIONS |= st.sampled_from(INTO_A_CHANGE)
TAG_LISTS = st.sampled_from([("a",), ("b",), ("a", "b"), ("b", "c"), ("c",), ("",), ("none",)])


@st.composite
def rule_sets(draw):
    """Few rules at a time, or everything would be kept."""
    names = draw(st.lists(st.sampled_from(RULES), unique=True, max_size=3))
    rules = {name: draw(DURATIONS if name.startswith("within") else COUNTS) for name in names}
    return KeepRules(**rules, tags=tuple(draw(st.lists(TAG_LISTS, max_size=0 if len(names) > 1 else 2))))


@pytest.mark.parametrize("zone", CHANGES)
@settings(max_examples=200, deadline=None)
@given(rules=rule_sets(), only=st.sampled_from([None, None, "a", "b"]))
def test_restic_keeps_the_same_points_for_the_same_reasons(repository, zone, rules, only):
    assume(not rules.empty)
    points = [point for point in points_of(zone) if only is None or only in point.tags]
    with local_zone(zone):
        found = wanted(points, rules, now_ns=time.time_ns())
    ours = Counter(
        (point.created_ns, tuple(reason.replace("point", "snapshot") for reason in reasons))
        for point, reasons in zip(points, found, strict=True)
        if reasons
    )
    assert ours == repository.forget(zone, only, rules)
