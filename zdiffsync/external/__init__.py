"""The doors to zfs, rclone, restic and the file system. Rule: the only package that starts processes."""
