"""The bytes of packs, deltas, manifests: encoded and decoded here. Rule: no I/O but on what is handed in."""
