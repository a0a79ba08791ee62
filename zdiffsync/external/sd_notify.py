"""Telling systemd that a service is ready and what it does: sd_notify(3), in Python.

Rule: never an error; a run goes on whether or not anybody listens.
"""

import os
import socket
from contextlib import suppress


def tell_systemd(**values: str | int) -> None:
    """Send variables such as READY=1 or STATUS='uploading'; nothing where systemd does not listen."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    text = "\n".join(f"{key}={value}" for key, value in values.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.sendto(text.encode(errors="replace"), "\0" + address[1:] if address[0] == "@" else address)
