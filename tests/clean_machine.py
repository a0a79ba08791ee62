"""A machine without zdiffsync: a bare Python, rclone, restic, zstd, and nothing else to run recover.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from zdiffsync.external.rclone_env import find_rclone
from zdiffsync.recovery import recover

SCRIPT = Path(recover.__file__)


class CleanMachine:
    """Runs recover.py on a remote with a password file; `how` zstd comes to it: as a program or a module."""

    def __init__(self, home, remote, password, how="program"):
        self.bin, self.env = home / "bin", {"HOME": str(home), "PATH": str(home / "bin")}
        self.remote, self.password = remote, password
        self.bin.mkdir(parents=True)
        self._link("rclone", find_rclone())
        self._link("restic", shutil.which("restic"))
        self._options = ["-I", "-S"]  # no modules but Python's own
        if how == "program":
            self._link("zstd", shutil.which("zstd"))
        elif sys.version_info < (3, 14):
            from backports import zstd  # noqa: PLC0415 - newer Pythons have their own

            modules = home / "modules"
            modules.mkdir()
            (modules / "backports").symlink_to(Path(zstd.__file__).parent.parent)
            self.env["PYTHONPATH"] = str(modules)
            self._options = ["-S"]

    def _link(self, name, program):
        assert program, f"{name} is not installed"
        (self.bin / name).symlink_to(program)

    def run(self, *arguments, remote=None, password=None):
        """Run recover.py; return exit code, stdout, stderr."""
        python = os.path.realpath(sys.executable)  # outside of the virtual environment
        command = [python, *self._options, str(SCRIPT), "--remote", str(remote or self.remote)]
        command += ["--password-file", str(password or self.password), *arguments]
        done = subprocess.run(command, check=False, capture_output=True, env=self.env, timeout=300)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def restore(self, point, target, *path):
        """Restore a point, or a path of it; return exit code and stderr."""
        code, out, err = self.run("restore", point, "--to", str(target), *path)
        assert out == ""
        return code, err
