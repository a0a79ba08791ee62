"""The local SQLite state, a cache of the manifests. Rule: can be deleted at any time."""
