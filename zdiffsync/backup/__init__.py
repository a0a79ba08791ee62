"""The nightly flow: snapshot, diff, reconcile, pack, upload, commit. Rule: the manifest is the commit."""
