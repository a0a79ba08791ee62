"""The values every layer speaks in: entries, contents, points. Rule: frozen, typed, no I/O."""
