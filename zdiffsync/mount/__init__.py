"""The backup as a read-only file system. Rule: the only package that knows pyfuse3 and trio."""
