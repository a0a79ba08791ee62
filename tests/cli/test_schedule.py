"""`zdiffsync schedule`, as far as it goes without a running systemd: systemd itself verifies the units."""

import json
import os

import pytest

from zdiffsync.cli.main import invoke
from zdiffsync.errors import UsageError
from zdiffsync.external.systemd import Manager
from zdiffsync.schedule.units import SERVICE, TIMER, NightlyJob


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "50 % of a.toml"
    path.write_text('remote = "/etc/backup"\npassword_file = "/p"\n[[dataset]]\nname = "tank/data"\n')
    return path


def units(config, capfd, *options):
    assert invoke(["-c", str(config), "--json", "schedule", "install", "--dry-run", *options]) == 0
    return json.loads(capfd.readouterr().out)["units"]


@pytest.mark.parametrize("user", [False, True], ids=["root", "user"])
def test_systemd_accepts_the_units(config, capfd, monkeypatch, user):
    monkeypatch.setattr("os.geteuid", lambda: 1000 if user else 0)
    made = units(config, capfd, "--at", "Mon..Fri 22:15")
    assert "OnCalendar=Mon..Fri 22:15" in made[TIMER]
    assert f'-c "{config.parent}/50 %% of a.toml" run\n' in made[SERVICE]
    assert ("ReadWritePaths=-/etc/backup\n" in made[SERVICE]) is not user
    assert ("ProtectSystem=full" in made[SERVICE]) is not user
    Manager(user=user).verify(made)


def test_what_systemd_does_not_accept_is_told_before_anything_is_written():
    with pytest.raises(UsageError, match=r"calendar specification.*at noon"):
        Manager(user=False).verify(NightlyJob(program="/bin/true", at="at noon").units())
    with pytest.raises(UsageError, match="/nowhere/zdiffsync is not executable"):
        Manager(user=False).verify(NightlyJob(program="/nowhere/zdiffsync").units())


def test_the_service_finds_the_tools_that_this_shell_finds(config, capfd, monkeypatch, tmp_path):
    (tmp_path / "restic").touch(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert f"Environment=PATH={tmp_path}:" in units(config, capfd)[SERVICE]


def test_without_systemd_the_line_for_cron_is_named(config, capfd, monkeypatch):
    monkeypatch.setattr("zdiffsync.cli.schedule.booted", lambda: False)
    assert invoke(["-c", str(config), "schedule", "install"]) == 4
    said = capfd.readouterr().err
    assert "30 2 * * * " in said
    assert f"zdiffsync -c '{config}' -q run" in said
