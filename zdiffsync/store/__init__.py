"""Objects on the remote: written once, verified, read by range. Rule: knows names and sizes, not meanings."""
