"""The doors to zfs, rclone and restic. Rule: the only package that starts processes."""
