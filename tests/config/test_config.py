"""The configuration file: every default, and one sentence for everything wrong."""

import socket
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdiffsync.config.config import Config, DatasetConfig, default_path, load
from zdiffsync.config.hooks import HooksConfig
from zdiffsync.config.notify import NotifyConfig
from zdiffsync.config.tripwire import TripwireConfig
from zdiffsync.config.units import parse_duration, parse_size
from zdiffsync.errors import ConfigError, ExitCode
from zdiffsync.maintain.duration import Duration
from zdiffsync.maintain.policy import UNLIMITED, KeepRules

NEEDED = 'remote = "r:b"\npassword_file = "/p"\n'
DEFAULTS = {
    "remote": "r:b", "password_file": "/p", "dataset": [], "exclude": [], "host": socket.gethostname(),
    "state_dir": "/var/lib/zdiffsync", "staging_dir": None, "staging_space": "1GiB", "preset": None,
    "pack_size": None,
    "large_file": "1MiB", "max_delta_depth": 8, "upload_rate": None, "base_every": "30d",
    "base_when_increments_exceed": 0.5, "given_transfers": None, "tpslimit": None, "bwlimit": None,
    "cache_size": "1GiB", "keep": None, "prune_grace": "20h", "prune_max_unused": 0.1,
    "tripwire": TripwireConfig(), "hooks": HooksConfig(), "notify": NotifyConfig(),
    "metrics_file": None, "stale_after": "36h", "catalog": None,
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "config.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def as_user(monkeypatch, number):
    monkeypatch.setattr("os.geteuid", lambda: number)


def test_every_key_has_its_default(config, monkeypatch):
    as_user(monkeypatch, 0)
    assert msgspec.structs.asdict(load(config(NEEDED))) == DEFAULTS


def test_defaults_are_read_as_sizes_and_times(config):
    found = load(config(NEEDED))
    keys = ("staging_space", "pack_size", "large_file", "cache_size")
    assert [found.size(key) for key in keys] == [1 << 30, 64 << 20, 1 << 20, 1 << 30]
    assert found.transfers == 4
    assert found.base_age() == timedelta(days=30)


def test_every_key_can_be_set(config):
    text = NEEDED + (
        'exclude = ["*.o"]\nhost = "h"\nstate_dir = "~/s"\nstaging_dir = "~/t"\nstaging_space = 1000\n'
        'pack_size = "1M"\nlarge_file = "2.5k"\nmax_delta_depth = 0\nupload_rate = "1T"\nbase_every = "2w"\n'
        'preset = "s3"\ntpslimit = 5\nbase_when_increments_exceed = 2\ntransfers = 1\nbwlimit = "8M"\n'
        'metrics_file = "/m"\nstale_after = "2d"\ncatalog = "postgresql://h/c"\n'
        'cache_size = "10G"\nprune_grace = "2d"\nprune_max_unused = 0\n[keep]\nlast = 3\n'
        "[tripwire]\nenabled = false\n[hooks]\nafter_run = 'true'\n[notify]\nwhen = 'always'\n"
        '[[dataset]]\nname = "a/b c"\nrecursive = true\nexclude = ["x"]\n[[dataset]]\nname = "d"\n'
    )
    found = load(config(text))
    assert found.dataset == [DatasetConfig("a/b c", recursive=True, exclude=["x"]), DatasetConfig("d")]
    assert (found.state, found.staging) == (Path.home() / "s", Path.home() / "t")
    assert [found.size(key) for key in ("staging_space", "pack_size", "large_file")] == [1000, 1 << 20, 2560]
    assert found.base_age() == timedelta(weeks=2)
    assert found.base_when_increments_exceed == 2.0
    changed = {key for key, value in msgspec.structs.asdict(found).items() if value != DEFAULTS[key]}
    assert changed == DEFAULTS.keys() - {"remote", "password_file"}


def test_staging_lies_in_the_state_unless_told(config):
    assert load(config(NEEDED + 'state_dir = "/s"')).staging == Path("/s/staging")


def test_a_dataset_has_its_own_rules_for_what_to_keep_or_those_for_all(config):
    text = NEEDED + (
        "[keep]\nlast = 3\nyearly = 'unlimited'\nwithin_daily = '1m2h'\ntags = ['a', 'b, c']\n"
        "[[dataset]]\nname = 'a'\n[[dataset]]\nname = 'b'\nkeep = {daily = '7'}\n"
        "[[dataset]]\nname = 'c'\n[dataset.keep]\n"
    )
    found = load(config(text))
    rules = [found.keep_rules(item.name) for item in found.dataset]
    assert rules == [
        KeepRules(
            last=3, yearly=UNLIMITED, within_daily=Duration(months=1, hours=2), tags=(("a",), ("b", "c"))
        ),
        KeepRules(daily=7),
        KeepRules(),
    ]
    assert load(config(NEEDED)).keep_rules("a") == KeepRules()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NEEDED + 'pack_sise = "1M"', "unknown key 'pack_sise'; did you mean 'pack_size'?"),
        (NEEDED + "transfer = 1", "unknown key 'transfer'; did you mean 'transfers'?"),
        (NEEDED + "[[datasets]]\nname = 'a'", "unknown key 'datasets'; did you mean 'dataset'?"),
        (NEEDED + "zzz = 1", "unknown key 'zzz'; known keys: remote, password_file, dataset, exclude"),
        (NEEDED + "[[dataset]]\nname = 'a'\nrecursiv = true",
         "unknown key 'recursiv' in a [[dataset]] table; did you mean 'recursive'?"),
        (NEEDED + "[[dataset]]\nname = 'a'\nqqq = true",
         "unknown key 'qqq' in a [[dataset]] table; known keys: name, recursive, exclude"),
        (NEEDED + "[[dataset]]\nname = 'a'\nsnapshots = ''", "snapshots: write what stands behind the @"),
        (NEEDED + "[[dataset]]\nname = 'a'\nsnapshots = ['z_*', 'a@b']", "snapshots: write what"),
        (NEEDED + "[keep]\ndayly = 1", "unknown key 'dayly' in a keep table; did you mean 'daily'?"),
        (NEEDED + "[[dataset]]\nname = 'a'\nkeep = {zzz = 1}",
         "unknown key 'zzz' in a keep table; known keys: last, hourly, daily"),
        (NEEDED + "[keep]\nlast = -1", "last: -1 is no count; write a number or 'unlimited'"),
        (NEEDED + "[keep]\nlast = 'all'", "last: 'all' is no count; write a number or 'unlimited'"),
        (NEEDED + "[keep]\nlast = true", "keep.last"),
        (NEEDED + "[keep]\nwithin = '2w'", "within: '2w' is no duration; write it like '1y5m7d2h'"),
        (NEEDED + "[keep]\nwithin = 5", "keep.within"),
        (NEEDED + "[keep]\ntags = 'a'", "keep.tags"),
        (NEEDED + "[keep]\ntags = ['a,']", "tags: 'a,' has an empty tag among others"),
        (NEEDED + "keep = 5", "keep"),
        (NEEDED + "[tripwire]\nenable = true",
         "unknown key 'enable' in the [tripwire] table; did you mean 'enabled'?"),
        (NEEDED + "[tripwire]\ndeleted = 30", "deleted must be a share of the files, from 0 to 1"),
        (NEEDED + "[tripwire]\nchanged = nan", "changed must be a share of the files, from 0 to 1"),
        (NEEDED + "[tripwire]\nmin_files = 0", "min_files must be at least 1"),
        (NEEDED + "[hooks]\nbefore_snap = 'true'",
         "unknown key 'before_snap' in the [hooks] table; did you mean 'before_snapshot'?"),
        (NEEDED + "[hooks]\ntimeout = '1 night'", "timeout: '1 night' is no duration"),
        (NEEDED + "[hooks]\ntimeout = 0", "timeout must be more than nothing"),
        (NEEDED + "[notify]\nurls = ['me@example.org']", "urls: number 1 is no address as Apprise has them"),
        (NEEDED + "[notify]\nhealthcheck = 'hc-ping.com'", "healthcheck must be an address that begins with"),
        (NEEDED + "[notify]\nhealthcheck = 'https://[hc'", "healthcheck must be an address that begins with"),
        (NEEDED + "[notify]\nwhen = 'never'", "notify.when"),
        ('password_file = "/p"', "key 'remote' is missing"),
        ('remote = "r:b"', "key 'password_file' is missing"),
        (NEEDED + "[[dataset]]\nrecursive = true", "key 'name' is missing"),
        (NEEDED + 'transfers = "4"', "transfers"),
        (NEEDED + "transfers = 0", "transfers must be at least 1"),
        (NEEDED + "transfers = 1.5", "transfers"),
        (NEEDED + "max_delta_depth = -1", "max_delta_depth must be at least 0"),
        (NEEDED + "base_when_increments_exceed = -0.5", "base_when_increments_exceed must be at least 0"),
        (NEEDED + "base_when_increments_exceed = nan", "base_when_increments_exceed"),
        (NEEDED + 'dataset = "tank"', "dataset"),
        (NEEDED + "[dataset]\nname = 'a'", "dataset"),
        (NEEDED + 'exclude = "*.o"', "exclude"),
        (NEEDED + "exclude = [1]", "exclude"),
        (NEEDED + "[[dataset]]\nname = 5", "name"),
        (NEEDED + "[[dataset]]\nname = 'a'\nrecursive = 'yes'", "recursive"),
        (NEEDED + "host = 5", "host"),
        (NEEDED + 'pack_size = "64 apples"', "pack_size: '64 apples' is no size; write it like '64MiB'"),
        (NEEDED + 'pack_size = "-1M"', "pack_size: '-1M' is no size"),
        (NEEDED + 'pack_size = ""', "pack_size: '' is no size"),
        (NEEDED + "pack_size = true", "pack_size"),
        (NEEDED + "pack_size = -1", "pack_size"),
        (NEEDED + "pack_size = 0", "pack_size"),
        (NEEDED + 'upload_rate = "0"', "upload_rate"),
        (NEEDED + 'staging_space = "lots"', "staging_space: 'lots' is no size"),
        (NEEDED + 'large_file = "1X"', "large_file: '1X' is no size"),
        (NEEDED + 'upload_rate = "fast"', "upload_rate: 'fast' is no size"),
        (NEEDED + 'base_every = "monthly"', "base_every: 'monthly' is no duration; write it like '30d'"),
        (NEEDED + 'base_every = "5"', "base_every: '5' is no duration"),
        (NEEDED + "base_every = -1", "base_every"),
        (NEEDED + f"base_every = {10**400}", "base_every"),
        (NEEDED + 'base_every = "99999999999d"', "base_every"),
        (NEEDED + "[[dataset]]\nname = 'a'\n[[dataset]]\nname = 'a'", "'a'"),
        (NEEDED + "[[dataset]]\nname = ''", "name"),
        (NEEDED + "[[dataset]]\nname = 'a@snap'", "'a@snap'"),
        (NEEDED + "[[dataset]]\nname = '-r'", "'-r' is no ZFS dataset"),
        (NEEDED + "[[dataset]]\nname = '/tank/data'", "'/tank/data' is no ZFS dataset"),
        (NEEDED + 'host = ""', "host"),
        ("remote = ", "is not valid TOML"),
        ("[", "is not valid TOML"),
        (NEEDED + "remote = 'again'", "is not valid TOML"),
        (b"remote = '\xff'", "is not valid TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_in_one_sentence(config, text, words):
    path = config(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert words in message
    assert "\n" not in message
    assert "`" not in message
    assert caught.value.exit_code == ExitCode.USAGE


def test_no_file(tmp_path):
    path = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=rf"there is no configuration file {path}; run zdiffsync init"):
        load(path)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=rf"cannot read {tmp_path}: Is a directory"):
        load(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"cannot read .*: Not a directory"):
        load(tmp_path / "file" / "config.toml")


def test_where_things_lie_without_being_told(monkeypatch):
    as_user(monkeypatch, 0)
    assert default_path() == Path("/etc/zdiffsync/config.toml")
    as_user(monkeypatch, 1000)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x/config")
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    assert default_path() == Path("/x/config/zdiffsync/config.toml")
    assert Config(remote="r", password_file="p").state == Path("/x/state/zdiffsync")
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert default_path() == Path("/h/.config/zdiffsync/config.toml")
    assert Config(remote="r", password_file="p").state == Path("/h/.local/state/zdiffsync")


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1", 1), ("1b", 1), ("1k", 1024), ("1KiB", 1024), ("1 kb", 1024), (" 2M ", 2 << 20),
     ("1.5G", 3 << 29), ("1t", 1 << 40), ("1PiB", 1 << 50), (7, 7)],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "k", "1kk", "1e3", "0x10", "1,5M", "1M 2M", "\u0661M", "inf", "nan", "--1", "+1"]
)
def test_no_sizes(text):
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("1.5min", 90), ("2h", 7200), ("1D", 86400), (" 1 w ", 604800), (60, 60), (0, 0)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@given(st.text(max_size=12))
def test_no_text_breaks_the_parsers(text):
    for parse in (parse_size, parse_duration):
        try:
            parse(text)
        except ValueError as error:
            assert repr(text) in str(error)  # noqa: PT017 - both outcomes are right, no other exception is


@given(st.integers(0, 1 << 60))
def test_whole_numbers_lose_nothing(number):
    assert parse_size(str(number)) == parse_size(number) == number
