"""A PostgreSQL server of the tests' own, in a folder of its own: on a Unix socket, and on a port of loopback.

Rule: it runs as another user where the tests are root's, for PostgreSQL refuses root.
"""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import psycopg
import pytest

OWNER = "postgres"  # of the server, in the database and, where the tests are root's, in the system
PASSWORD = "s3cr:t/@"  # as awkward in a URL as a person's may be
URL_PASSWORD = "s3cr%3At%2F%40"
_WAIT = 30  # seconds


class Server:
    """Its socket takes everybody for whom they say they are; its port asks for a password."""

    def __init__(self, socket_dir, port):
        self.socket_dir, self.port = socket_dir, port

    def url(self, database="postgres", user=OWNER):
        return f"postgresql://{user}@/{database}?host={self.socket_dir}&port={self.port}"

    def tcp_url(self, password, database="postgres", user=OWNER):
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement):
        """Carry out a statement as the owner; return its rows."""
        with psycopg.connect(
            host=self.socket_dir, port=self.port, user=OWNER, dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def end_others(self):
        """End all connections but that of this statement."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def schemas(self):
        """The names of all catalogs."""
        rows = self.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'zdiffsync%'")
        return [name for (name,) in rows]

    def drop_schemas(self):
        for name in self.schemas():
            self.execute(f"DROP SCHEMA {name} CASCADE")


@contextmanager
def running():
    """Run a server; an unlucky choice of its port ends in an error."""
    programs = _programs()
    who = {"user": OWNER, "group": OWNER, "extra_groups": []} if os.geteuid() == 0 else {}
    home = Path(tempfile.mkdtemp(prefix="zdiffsync-pg-"))
    log = home / "log"
    try:
        (home / "password").write_text(PASSWORD)
        if who:
            for path in (home, home / "password"):
                shutil.chown(path, OWNER, OWNER)
        made = subprocess.run(
            [programs / "initdb", "-D", home / "data", "-U", OWNER, "--pwfile", home / "password",
             "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "--no-instructions",
             "--encoding=UTF8", "--no-locale"],
            check=False, capture_output=True, text=True, cwd=home, **who,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        server = Server(home, _free_port())
        settings = {
            "listen_addresses": "127.0.0.1", "port": server.port, "unix_socket_directories": home,
            "fsync": "off", "full_page_writes": "off", "autovacuum": "off", "shared_buffers": "32MB",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [programs / "postgres", "-D", home / "data", *options],
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=home, **who,
            )  # fmt: skip
        try:
            _wait_for(server, process, log)
            yield server
        finally:
            process.terminate()  # SIGTERM waits for clients, of which none should be left
            try:
                process.wait(_WAIT)
            except subprocess.TimeoutExpired:
                process.send_signal(subprocess.signal.SIGQUIT)
                process.wait()
                raise
    finally:
        shutil.rmtree(home)


def _programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    if path := shutil.which("initdb"):
        return Path(path).resolve().parent
    pytest.fail("this test needs PostgreSQL's server; run scripts/setup", pytrace=False)
    raise AssertionError


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _wait_for(server, process, log):
    end = monotonic() + _WAIT
    while True:
        try:
            server.execute("SELECT 1")
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert monotonic() < end, log.read_text()
            sleep(0.05)
        else:
            return
