"""A person at a terminal: the program in a pseudo-terminal of 80 columns, its questions answered."""

import os
import pty
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from time import monotonic, sleep

_PROGRAM = "from zdiffsync.cli.main import main; main()"
_PATIENCE = 60.0  # seconds
_READING = 0.3  # seconds from a question until somebody waits for its answer


class Terminal:
    """One run of zdiffsync; `seen` is all that it has printed so far."""

    def __init__(self, *arguments, **environment):
        self._main, side = pty.openpty()
        ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
        self.seen = ""
        self._told = 0
        self._child = subprocess.Popen(
            ["setsid", "--ctty", sys.executable, "-c", _PROGRAM, *map(str, arguments)],
            stdin=side, stdout=side, stderr=side, env={**os.environ, **environment, "TERM": "dumb"},
        )  # fmt: skip
        os.close(side)

    def answer(self, question, text):
        """Wait until `question` was printed after the last answer; type `text` and Enter."""
        self.wait_for(question)
        os.write(self._main, text.encode() + b"\n")

    def interrupt(self, question):
        """Wait for `question` and press Ctrl-C, once the program is reading."""
        self.wait_for(question)
        sleep(_READING)
        os.write(self._main, b"\x03")

    def wait_for(self, text):
        end = monotonic() + _PATIENCE
        while (place := self.seen.find(text, self._told)) < 0:
            assert self._read(end), f"never said {text!r}:\n{self.seen}"
        self._told = place + len(text)

    def end(self):
        """Wait for the end and return the exit code."""
        end = monotonic() + _PATIENCE
        while self._read(end):
            pass
        os.close(self._main)
        return self._child.wait(_PATIENCE)

    def _read(self, end):
        if not select.select([self._main], [], [], max(0.0, end - monotonic()))[0]:
            self._child.kill()
            return False
        try:
            part = os.read(self._main, 1 << 16)
        except OSError:  # the other side is closed
            return False
        self.seen += part.decode().replace("\r\n", "\n")
        return bool(part)
