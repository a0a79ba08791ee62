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
            policy=_policy(opened),
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


def _policy(opened: Opened) -> DeltaPolicy:
    """Weigh time against bytes by what the line does: as configured, else as it was measured last."""
    if opened.config.upload_rate is not None:
        return DeltaPolicy(upload_bytes_per_second=float(opened.config.size("upload_rate")))
    here = (point for point in reversed(opened.catalog.points()) if point.host == opened.config.host)
    rates = (point.stats.get("upload_rate") for point in here)
    measured = next((rate for rate in rates if isinstance(rate, int) and rate > 0), None)
    return DeltaPolicy(upload_bytes_per_second=float(measured)) if measured else DeltaPolicy()
