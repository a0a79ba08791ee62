"""The doors to zfs, rclone, restic and the local file system. Rule: the only package that starts processes."""
