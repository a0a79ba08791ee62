"""A running `zdiffsync mount`, as a user has it. Rule: `close` ends it whatever state it is in."""

import os
import subprocess
import sys
import time
from pathlib import Path

COMMAND = Path(sys.executable).parent / "zdiffsync"


def wait_for(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


class Mount:
    """`zdiffsync mount --foreground`, ready to be looked at."""

    def __init__(self, config, directory, *options):
        self.directory = directory
        argv = [COMMAND, "-c", config, "mount", "--foreground", *options, directory]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = self.process.stdout.readline()
        if not self.said:
            code, error = self.process.wait(30), self.process.stderr.read()
            self.close()
            raise AssertionError(f"exit code {code}: {error}")

    def points(self, dataset="tank/data"):
        """The directories of a dataset's points, oldest first."""
        found = Path(self.directory, dataset)
        return [found / name for name in sorted(os.listdir(found)) if name.startswith("20")]

    def rclone(self):
        """The process id of its rclone."""
        return rclone_of(self.process.pid)

    def end(self, seconds=20):
        """Wait for its end; return its exit code and what it said on stderr."""
        _, error = self.process.communicate(timeout=seconds)
        return self.process.returncode, error

    def close(self):
        if os.path.ismount(self.directory) or is_dead(self.directory):
            subprocess.run(["fusermount3", "-u", "-z", self.directory], check=False, capture_output=True)
        if self.process.poll() is None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


def is_dead(directory):
    try:
        os.statvfs(directory)
    except OSError:
        return True
    return False


def rclone_of(parent):
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                name = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == parent and b"rcd" in name.split(b"\0"):
                return int(entry.name)
    return None
