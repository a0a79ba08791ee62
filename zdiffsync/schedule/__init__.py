"""The systemd units of nightly runs, as templates, and what fills them in."""
