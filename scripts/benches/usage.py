"""How long a process takes and how much memory.

Rule: measured from a process that is small itself, for a child's largest RSS begins with its parent's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from common import sh

_PROGRAM = """
import json, os, subprocess, sys, time
started = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps((time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)))
sys.exit(status != 0)
"""


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds, those of them (and of its children) on a CPU, and the largest RSS in MiB."""

    seconds: float
    cpu: float
    memory: float


def measured(command: list[str], cwd: Path | None = None) -> Used:
    """Run a command that must succeed; return what it used."""
    return Used(*json.loads(sh(sys.executable, "-IS", "-c", _PROGRAM, *command, cwd=cwd)))
