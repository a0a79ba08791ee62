"""What lies on the remote for those who have no zdiffsync. Rule: nothing of ours is imported here."""
