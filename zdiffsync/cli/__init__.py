"""The command line, one file per command. Rule: parses and prints; the work lies below."""
