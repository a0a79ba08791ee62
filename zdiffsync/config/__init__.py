"""The configuration file. Rule: every key has a documented default, an unknown key is an error."""
