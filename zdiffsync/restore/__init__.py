"""The way back: locate, fetch, patch, verify, write. Rule: no byte leaves unchecked."""
