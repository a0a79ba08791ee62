"""What the line does: measured by a run, kept with its point, used by the next one."""

import hashlib
import os
from dataclasses import replace

import pytest

from zdiffsync.backup.uploader import Uploader
from zdiffsync.cli.context import make_app
from zdiffsync.cli.main import invoke
from zdiffsync.cli.session import make_session
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.format.manifest import Header, ManifestWriter, PackRecord, read_manifest
from zdiffsync.model.progress import silent
from zdiffsync.store.names import new_pack_id, pack_name

ASSUMED = DeltaPolicy().upload_bytes_per_second
HEADER = Header(
    "aa" * 16, "1" * 16, 0, 0, "ab" * 8, "tank/data", 7, "h", "tank/data@one", 1, 1,
    1_700_000_000 * 10**9, None, "c" * 64, 1_700_000_000 * 10**9, "0" * 16,
)  # fmt: skip


@pytest.fixture
def app(tmp_path):
    config = tmp_path / "config.toml"
    arguments = [
        "-c", config, "init", "--remote", tmp_path / "remote", "--state-dir", tmp_path / "state",
    ]  # fmt: skip
    assert invoke([str(argument) for argument in arguments]) == 0
    return configured(config, 'host = "h"')


def configured(config, line):
    config.write_text(f"{line}\n{config.read_text()}")
    return make_app(config, json_output=True, verbosity=-1, no_progress=True)


def uploaded(area, stage, size):
    pack, data = new_pack_id(), os.urandom(size)
    path = stage / pack_name(pack)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with silent("uploading") as progress:
        uploader = Uploader(area, stage, space=1 << 30, progress=progress, on_verified=lambda _: None)
        with uploader:
            uploader.submit(PackRecord(pack, size, hashlib.sha256(data).hexdigest()))
    return uploader.rate


def test_a_large_upload_is_measured_and_a_small_one_is_not(app, tmp_path):
    with app.opened() as opened:
        area = opened.repository.store.data
        assert uploaded(area, tmp_path / "stage", 1 << 20) is None
        assert uploaded(area, tmp_path / "stage", 12 << 20) > 1 << 20


def test_the_next_run_weighs_by_what_the_last_one_on_this_host_measured(app, tmp_path):
    with app.opened() as opened:

        def rate():
            return make_session(app, opened).settings.contents.policy.upload_bytes_per_second

        assert rate() == ASSUMED
        for number, (host, measured) in enumerate([("h", 3_000_000), ("h", None), ("other", 9_000_000)]):
            header = replace(
                HEADER, repository=opened.repository.identifier, host=host, chain=f"{number:016}",
                point=f"{number:016}", guid=number + 1, created_ns=HEADER.created_ns + number,
            )  # fmt: skip
            with ManifestWriter(tmp_path / "manifest", header) as writer:
                writer.finish({"upload_rate": measured})
            opened.catalog.apply(read_manifest(tmp_path / "manifest"), 0)
            assert rate() == 3_000_000


def test_a_configured_rate_is_believed(app, tmp_path):
    del app
    app = configured(tmp_path / "config.toml", 'upload_rate = "1M"')
    with app.opened() as opened:
        assert make_session(app, opened).settings.contents.policy.upload_bytes_per_second == 1 << 20
