"""What `status`, the metrics and `doctor` look at. Rule: makes a Look of the configuration, nothing else."""

from zdiffsync.config.config import Config
from zdiffsync.external.rclone_env import shown
from zdiffsync.maintain.run_record import Planned
from zdiffsync.maintain.status_look import Look
from zdiffsync.store.repository import remembered


def look_of(config: Config) -> Look:
    """Return what to look at for one remote."""
    return Look(
        host=config.host,
        remote=shown(config.remote),
        repository=remembered(config.state / "repository"),
        state=config.state,
        planned=[Planned(item.name, item.recursive) for item in config.dataset],
        stale_after=config.stale_age(),
        base_every=config.base_age(),
        share=config.base_when_increments_exceed,
        pack_size=config.size("pack_size"),
    )
