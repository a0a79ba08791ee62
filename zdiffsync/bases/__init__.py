"""Bases, read straight from restic's repository: one directory, one range, each byte checked."""
