"""The session that commands which change the repository work with.

Rule: the one place where configuration becomes the settings of backup.
"""

from zdiffsync.backup.contents import ContentSettings
from zdiffsync.backup.session import BackupSettings, Session
from zdiffsync.cli.context import App
from zdiffsync.cli.opening import Opened
from zdiffsync.format.delta_policy import DeltaPolicy
from zdiffsync.maintain.memory import CheckMemory


def make_session(app: App, opened: Opened) -> Session:
    """Return what runs, forget, prune and repair work with."""
    config = opened.config
    settings = BackupSettings(
        staging=config.staging,
        state=config.state,
        staging_space=config.size("staging_space"),
        pack_size=config.size("pack_size"),
        contents=ContentSettings(
            large_file=config.size("large_file"),
            max_depth=config.max_delta_depth,
            policy=DeltaPolicy(upload_bytes_per_second=float(config.size("upload_rate"))),
        ),
        base_every=config.base_age(),
        base_when_increments_exceed=config.base_when_increments_exceed,
        bases_from_ns=CheckMemory(config.state, opened.repository.identifier).distrusted_ns,
        tripwire=config.tripwire.settings(),
    )
    return Session(
        opened.repository.identifier, config.host, opened.repository.store, opened.catalog, opened.restic,
        settings, app.progress,
    )  # fmt: skip
