"""zdiffsync: off-site backup for ZFS datasets whose nightly cost follows what changed."""

__version__ = "0.1.0"
