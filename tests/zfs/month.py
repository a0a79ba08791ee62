"""A month in the life of a machine: what happens on each day, and what has to be said of the night after it.

Rule: what is expected stands in the calendar, written down beforehand; nothing of it is asked of zdiffsync.
"""

import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from machine import Machine, sh, snapshot_directory
from prometheus_client.parser import text_string_to_metric_families

from listener import Listener
from oracle import differences

START = datetime(2026, 10, 1, 2, 30, tzinfo=UTC)
FILES = 120


@dataclass(frozen=True, slots=True)
class Night:
    """One day and its night.

    `code` is the run's exit code (None: the machine is off or the run is killed), `states` the datasets that
    are not ok in the morning, `title` what a person is told (None: nothing), `base` the reason of a new base.
    """

    happens: Callable[["House"], None]
    code: int | None = 0
    states: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    base: Mapping[str, str] = field(default_factory=dict)
    arguments: Sequence[str] = ()


class House:
    """Three datasets of one machine, one of them encrypted, and everybody who works on them."""

    def __init__(self, pool: str, home: Path) -> None:
        self.parent, self.home = f"{pool}/house-{secrets.token_hex(3)}", home
        self.rng = random.Random(20261001)
        self.listener = Listener()
        self.machine = Machine(home)
        self.night = -1
        sh("zfs", "create", "-o", "acltype=posixacl", "-o", "xattr=sa", self.parent)
        self.key = home / "key"
        self.key.write_bytes(secrets.token_bytes(32))
        for name in ("home", "mail", "media"):
            encrypted = ("-o", "encryption=on", "-o", "keyformat=raw", "-o", f"keylocation=file://{self.key}")
            sh("zfs", "create", *(encrypted if name == "mail" else ()), f"{self.parent}/{name}")
            for number in range(FILES):
                path = self.root(name) / f"{number % 7}/letter{number}.txt"
                path.parent.mkdir(exist_ok=True)
                path.write_text(f"letter {number} of {name}: " + "dear friend, " * 40)
        self.metrics = home / "metrics.prom"
        self.machine.configure(
            self.parent, recursive=True, host="tower", stale_after="26h", base_every="620h",
            prune_grace="20h", metrics_file=str(self.metrics),
        )  # fmt: skip
        with self.machine.config.open("a", encoding="utf-8") as file:
            place = self.listener.place
            file.write(
                f'[keep]\ndaily = 7\nweekly = 3\n[notify]\nwhen = "problem"\nurls = ["json://{place}"]\n'
            )
            file.write(f'healthcheck = "http://{place}/ping"\n')
        self.machine.cli("init")
        self.moments: dict[str, str] = {}  # snapshots by the points that must equal them
        self.newest: dict[str, int] = {}  # nights by dataset

    def close(self) -> None:
        self.listener.close()

    # the days

    def root(self, name: str) -> Path:
        return Path(sh("zfs", "get", "-Ho", "value", "mountpoint", f"{self.parent}/{name}").strip())

    def letters(self, name: str) -> list[Path]:
        return sorted(path for path in self.root(name).rglob("*") if path.is_file())

    def work(self, *names: str) -> None:
        """Do what people do: write, rename, delete, link, change modes, make directories."""
        for name in names or ("home", "mail", "media"):
            for _ in range(6):
                path = self.rng.choice(self.letters(name))
                getattr(self, f"_{self.rng.choice(('write', 'move', 'remove', 'link', 'mode', 'folder'))}")(
                    path
                )

    def _write(self, path: Path) -> None:
        path.write_text(f"written in night {self.night}: {self.rng.random()}\n" * 30)

    def _move(self, path: Path) -> None:
        path.rename(path.with_name(f"{path.stem}-{self.night}{path.suffix}"[-80:]))

    def _remove(self, path: Path) -> None:
        path.unlink()

    def _link(self, path: Path) -> None:
        os.link(path, path.with_name(f"link{self.rng.randrange(10**6)}"))

    def _mode(self, path: Path) -> None:
        path.chmod(self.rng.choice((0o600, 0o640, 0o755)))

    def _folder(self, path: Path) -> None:
        folder = path.parent / f"folder{self.rng.randrange(10**6)}"
        folder.mkdir()
        (folder / "new.txt").write_text("new\n")

    def rest(self) -> None:
        """Nothing happens."""

    def other_tools(self) -> None:
        """Have another tool take snapshots, and clean up as far as it may."""
        self.work("home")
        sh("zfs", "snapshot", "-r", f"{self.parent}@autosnap_{self.night}")
        self.work("home")
        for snapshot in (each for each in self._snapshots("home") if "@moment" not in each):
            kept = subprocess.run(["zfs", "destroy", snapshot], check=False, capture_output=True)
            assert (kept.returncode != 0) == ("@zdiffsync-" in snapshot), snapshot

    def force_away(self, name: str = "home") -> None:
        """Have somebody destroy our held snapshot by force."""
        for ours in self._ours(name):
            for row in sh("zfs", "holds", "-H", ours).splitlines():
                sh("zfs", "release", row.split("\t")[1], ours)
            sh("zfs", "destroy", ours)

    def lose_remote(self) -> None:
        self.work()
        self.machine.remote.rename(self.home / "away")

    def find_remote(self) -> None:
        (self.home / "away").rename(self.machine.remote)
        self.work()

    def make_volume(self) -> None:
        sh("zfs", "create", "-V", "16M", f"{self.parent}/volume")
        self.work()

    def take_volume_away(self) -> None:
        sh("zfs", "destroy", "-r", f"{self.parent}/volume")

    def unload_key(self) -> None:
        self.work("mail")
        sh("zfs", "umount", f"{self.parent}/mail")
        sh("zfs", "unload-key", f"{self.parent}/mail")

    def load_key(self) -> None:
        sh("zfs", "mount", "-l", f"{self.parent}/mail")

    def encrypt(self) -> None:
        """Do what ransomware does, to all of `media`."""
        for path in self.letters("media"):
            path.with_name(f"{path.name}.locked").write_bytes(self.rng.randbytes(path.stat().st_size))
            path.unlink()

    def go_back(self) -> None:
        [ours] = self._ours("media")
        sh("zfs", "rollback", ours)

    def delete_much(self) -> None:
        for path in self.letters("media")[10:]:
            path.unlink()

    def kill(self) -> None:
        """Start a run and kill it once it has taken its snapshots."""
        self.work()
        start = "from zdiffsync.cli.main import main; main()"
        command = [sys.executable, "-c", start, "-c", str(self.machine.config), "run"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            while len(self._ours("media")) < 2:
                assert run.poll() is None, "it was too quick"
            run.send_signal(signal.SIGKILL)

    def rename(self) -> None:
        self.work("home")
        sh("zfs", "rename", f"{self.parent}/home", f"{self.parent}/people")
        self.newest["/people"] = self.newest.pop("/home")

    def rename_back(self) -> None:
        sh("zfs", "rename", f"{self.parent}/people", f"{self.parent}/home")
        self.newest["/home"] = self.newest.pop("/people")
        self.work()

    def go_back_too_far(self) -> None:
        """Roll back past the last point, which takes destroying its snapshot first."""
        sh("zfs", "snapshot", f"{self.parent}/media@before")
        self.force_away("media")
        self.work("media")
        sh("zfs", "rollback", "-r", f"{self.parent}/media@before")

    def _snapshots(self, name: str) -> list[str]:
        return sh("zfs", "list", "-Hd1", "-o", "name", "-t", "snapshot", f"{self.parent}/{name}").split()

    def _ours(self, name: str) -> list[str]:
        return [each for each in self._snapshots(name) if "@zdiffsync-" in each]

    # the nights

    def date(self, hours: float) -> None:
        """Set the clock to so many hours after this night's half past two."""
        sh("date", "-s", f"@{(START + timedelta(days=self.night, hours=hours)).timestamp():.0f}")

    def play(self, night: Night) -> None:
        """Live through a day and its night; then look what everybody was told."""
        self.night += 1
        self.date(-8)
        night.happens(self)
        self.date(0)
        before = len(self.listener.posts)
        points = self._run(night) if night.code is not None else []
        self._look_at_points(night, points)
        self.date(5.5)
        self._look_at_status(night)
        self._look_at_metrics(night)
        self._look_at_messages(night, self.listener.posts[before:])

    def _run(self, night: Night) -> list[dict[str, Any]]:
        moment = f"moment{self.night}"
        sh("zfs", "snapshot", "-r", f"{self.parent}@{moment}")
        points: list[dict[str, Any]] = self.machine.run(*night.arguments, expect=night.code).get("points", [])
        for point in points:
            self.moments[point["point"]] = f"{point['dataset']}@{moment}"
            self.newest[point["dataset"].removeprefix(self.parent)] = self.night
        for snapshot in sh("zfs", "list", "-Hro", "name", "-t", "snapshot", self.parent).split():
            if snapshot.endswith(f"@{moment}") and snapshot not in self.moments.values():
                sh("zfs", "destroy", snapshot)  # in the way of a rollback
        return points

    def _look_at_points(self, night: Night, points: Sequence[Mapping[str, Any]]) -> None:
        bases = {
            point["dataset"].removeprefix(self.parent): point["reason"]
            for point in points
            if point["kind"] == "base"
        }
        assert bases.keys() == night.base.keys(), (self.night, bases)
        for name, reason in bases.items():
            assert night.base[name] in reason, (self.night, name, reason)

    def _look_at_status(self, night: Night) -> None:
        status = self.machine.cli("status", expect=3 if night.states else 0)
        found = {
            each["dataset"].removeprefix(self.parent): each["state"]
            for each in status["datasets"]
            if each["state"] != "ok"
        }
        assert found == dict(night.states), (self.night, found, status)
        for each in status["datasets"]:
            name = each["dataset"].removeprefix(self.parent)
            if name in self.newest:
                assert each["created_ns"] // 10**9 - self._second(self.newest[name]) in range(600), each

    def _look_at_metrics(self, night: Night) -> None:
        if night.code is None:
            return
        figures: dict[tuple[str, str], float] = {}
        for family in text_string_to_metric_families(self.metrics.read_text()):
            for sample in family.samples:
                dataset = sample.labels.get("dataset", "").removeprefix(self.parent)
                figures[sample.name.removeprefix("zdiffsync_"), dataset] = sample.value
        assert figures["run_exit_code", ""] == night.code, self.night
        for name, newest in self.newest.items():
            made = figures["last_point_timestamp_seconds", name]
            assert int(made) - self._second(newest) in range(600), (self.night, name)
        for name, state in night.states.items():
            for word in ("tripped", "not covered"):
                assert figures[word.replace(" ", "_"), name] == (state == word), (self.night, name)
            if state == "failing":
                assert figures["failures", name] >= 1, (self.night, name)

    def _look_at_messages(self, night: Night, posts: Sequence[tuple[str, str]]) -> None:
        pings = [path for path, _ in posts if path.startswith("/ping")]
        titles = [json.loads(body)["title"] for path, body in posts if not path.startswith("/ping")]
        if night.code is None:
            assert titles == [], self.night
            assert pings in ([], ["/ping/start"]), self.night
            return
        assert pings == ["/ping/start", f"/ping/{night.code}" if night.code else "/ping"], (self.night, pings)
        title = (night.title or "").replace("{media}", f"{self.parent}/media")
        assert titles == ([f"zdiffsync on tower: {title}"] if title else []), (self.night, titles)

    def _second(self, night: int) -> int:
        return int((START + timedelta(days=night)).timestamp())

    def compare(self, count: int) -> None:
        """Restore so many of the points that are left, the oldest and newest among them, and compare."""
        points = self.machine.points()
        chosen = {points[0]["point"], points[-1]["point"]}
        chosen |= {point["point"] for point in self.rng.sample(points, count - 2)}
        for number, point in enumerate(sorted(chosen)):
            target = self.root("home") / f"restored{number}"
            self.machine.restore(point, target)
            moment = self.moments[point].replace("/people@", "/home@")
            found = differences(snapshot_directory(moment), str(target))
            assert not found, (moment, found[:10])
            shutil.rmtree(target)
