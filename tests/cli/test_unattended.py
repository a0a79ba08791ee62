"""What stands around a run, with real hooks and a real listener: most runs here end early, as nights do."""

import io
import json
import os
import socket

import pytest

from listener import Listener
from zdiffsync.cli.journal import Level, worded
from zdiffsync.cli.main import invoke
from zdiffsync.cli.message import Message
from zdiffsync.cli.notifying import Notifier, Told
from zdiffsync.config.notify import NotifyConfig
from zdiffsync.external.lock import exclusive
from zdiffsync.maintain.run_stage import StageFile
from zdiffsync.model.progress import silent

pytestmark = pytest.mark.filterwarnings(
    "ignore:'imghdr':DeprecationWarning"
)  # a module of Apprise's asks for it


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.close()


@pytest.fixture
def night(tmp_path, capfd):
    """Runs zdiffsync with the given tables; without a password file, a run ends with exit code 2."""
    path = tmp_path / "config.toml"

    def run(tables, *arguments):
        path.write_text(
            f'remote = "{tmp_path}/remote"\npassword_file = "{tmp_path}/none"\n'
            f'state_dir = "{tmp_path}/state"\nhost = "tower"\n{tables}\n[[dataset]]\nname = "tank/data"\n'
        )
        code = invoke(["-c", str(path), *(arguments or ["run"])])
        return code, capfd.readouterr()

    return run


def hooks(folder, **more):
    """Tables of hooks that each note their environment in a file of their name."""
    lines = [f"{name} = 'env >{folder}/{name}'" for name in ("before_snapshot", "after_run", "on_failure")]
    replaced = [f"{name} = {json.dumps(value)}" for name, value in more.items()]
    kept = [line for line in lines if line.split()[0] not in more]
    return "\n".join(["[hooks]", *kept, *replaced])


def noted(folder, name):
    lines = (folder / name).read_text().splitlines()
    return {
        key: value for key, _, value in (line.partition("=") for line in lines) if key.startswith("ZDIFF")
    }


def test_a_failure_reaches_hooks_people_and_monitor(night, tmp_path, listener):
    code, said = night(
        f'{hooks(tmp_path)}\n[notify]\nurls = ["json://{listener.place}/one", "json://{listener.place}/two"]\n'
        f'healthcheck = "http://{listener.place}/ping?create=1"'
    )
    assert code == 2
    error = f"cannot read the password file {tmp_path}/none: No such file or directory; see password_file"
    assert said.err.startswith(f"zdiffsync: {error}")
    ending = noted(tmp_path, "on_failure")
    assert (ending["ZDIFFSYNC_EXIT_CODE"], ending["ZDIFFSYNC_DATASETS"]) == ("2", "tank/data")
    assert ending["ZDIFFSYNC_PROBLEMS"].startswith(error)
    assert "ZDIFFSYNC_EXIT_CODE" not in noted(tmp_path, "before_snapshot")
    assert noted(tmp_path, "after_run")["ZDIFFSYNC_HOOK"] == "after_run"
    report = json.loads((tmp_path / "state/report.json").read_text())
    assert (report["exit_code"], report["error"][: len(error)]) == (2, error)
    titles = [(message["title"], message["type"]) for message in listener.messages()]
    assert titles == [("zdiffsync on tower: backup failed", "failure")] * 2
    (began, _), (ended, text) = listener.pings()
    assert (began, ended) == ("/start?create=1", "/2?create=1")
    assert text.startswith(error)


def test_a_failing_first_hook_stops_the_run_and_nothing_it_said_is_lost(night, tmp_path):
    code, said = night(hooks(tmp_path, before_snapshot="echo no database; sleep 30 & exit 3"), "-q", "run")
    assert code == 4
    assert said.err.splitlines() == [
        "before_snapshot: no database",
        "zdiffsync: the hook before_snapshot ended with exit code 3",
        "zdiffsync: the hook before_snapshot ended with exit code 3; nothing was backed up",
    ]
    [before, *_] = json.loads((tmp_path / "state/report.json").read_text())["hooks"]
    assert (before["output"], before["failure"]) == ("no database", "ended with exit code 3")
    assert noted(tmp_path, "after_run")["ZDIFFSYNC_EXIT_CODE"] == "4"


def test_a_report_that_cannot_be_written_keeps_no_hook_from_running(night, tmp_path):
    (tmp_path / "state/report.json").mkdir(parents=True)  # as on a full disk
    code, said = night(hooks(tmp_path))
    assert (code, "Is a directory" in said.err) == (2, True)
    for name in "after_run", "on_failure":
        assert noted(tmp_path, name)["ZDIFFSYNC_EXIT_CODE"] == "2"


def test_a_hook_that_hangs_is_ended(night, tmp_path):
    code, said = night(hooks(tmp_path, before_snapshot="sleep 60", timeout="1s"))
    assert (code, "did not end within 1 s and was stopped" in said.err) == (4, True)


def test_after_ctrl_c_the_other_steps_are_taken(night, tmp_path, listener):
    tables = hooks(tmp_path, before_snapshot="kill -INT $PPID; sleep 9", after_run="kill -INT $PPID; sleep 9")
    code, said = night(f'{tables}\n[notify]\nurls = ["json://{listener.place}"]')
    assert (code, said.err.strip()) == (130, "zdiffsync: interrupted; run it again to continue")
    assert noted(tmp_path, "on_failure")["ZDIFFSYNC_EXIT_CODE"] == "130"
    assert [message["title"] for message in listener.messages()] == ["zdiffsync on tower: backup interrupted"]


def test_while_another_run_goes_on_its_hooks_are_left_alone(night, tmp_path):
    with exclusive(tmp_path / "state/lock", "run"):
        code, _ = night(hooks(tmp_path))
    assert code == 11
    assert not (tmp_path / "before_snapshot").exists()
    assert not (tmp_path / "after_run").exists()
    assert noted(tmp_path, "on_failure")["ZDIFFSYNC_EXIT_CODE"] == "11"


def test_a_message_that_fails_tells_no_secret_and_is_tried_again(night, listener, monkeypatch):
    monkeypatch.setattr("zdiffsync.external.healthcheck._PAUSES", (0.01, 0.01))
    urls = [
        f"json://me:hidden1@{listener.place}/refuse/hidden2",
        "json://127.0.0.1:1/hidden3",
        "hidden4://hidden5",
    ]
    code, said = night(
        f'[notify]\nwhen = "change"\nurls = {json.dumps(urls)}\nhealthcheck = "http://127.0.0.1:1/hidden6"'
    )
    assert code == 2
    assert "hidden" not in said.out + said.err
    for number, service in (1, " (JSON)"), (2, " (JSON)"), (3, ""):
        assert f"zdiffsync: not notified: urls: number {number}{service}" in said.err
    night(f'[notify]\nwhen = "change"\nurls = ["json://{listener.place}/now"]')
    night(f'[notify]\nwhen = "change"\nurls = ["json://{listener.place}/again"]')
    assert [path for path, _ in listener.posts] == ["/refuse/hidden2", "/now"]


def test_notify_tries_everyone(night, listener):
    tables = f'[notify]\nurls = ["json://{listener.place}"]\nhealthcheck = "http://{listener.place}/ping"'
    code, said = night(tables, "notify")
    assert (code, said.out) == (0, "sent to urls: number 1 (JSON)\nsent to the healthcheck\n")
    assert [path for path, _ in listener.pings()] == ["/log"]
    code, said = night('[notify]\nurls = ["json://127.0.0.1:1/"]', "notify")
    assert (code, said.out) == (5, "")
    assert night("", "notify")[0] == 2


FINE, WRONG, OTHER = Told(), Told(3, ("failed a",)), Told(3, ("failed b",))


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ("problem", [False, True, True, True, True, False]),
        ("change", [False, True, False, True, True, False]),
        ("always", [True] * 6),
    ],
)
def test_when_people_hear_of_a_run(tmp_path, monkeypatch, when, told):
    monkeypatch.setattr("zdiffsync.cli.notifying.send", lambda *_: "")
    notifier = Notifier(NotifyConfig(urls=["json://x"], when=when), tmp_path, pytest.fail)
    heard = []
    for now in FINE, WRONG, WRONG, OTHER, FINE, FINE:
        heard.append(notifier.tells(now))
        if heard[-1]:
            notifier.tell(now, Message("", "", "info"))
    assert heard == told


def test_systemd_hears_what_a_run_does(night, tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        night(hooks(tmp_path))
        heard = [systemd.recv(1000).decode() for _ in range(5)]
        assert heard[0] == "READY=1\nSTATUS=begins"
        assert heard[1:4] == [
            "STATUS=hook before_snapshot",
            "STATUS=hook after_run",
            "STATUS=hook on_failure",
        ]
        assert heard[4] == "STATUS=ended with exit code 2"

        progress = StageFile(tmp_path, 1, lambda: None).over(silent)
        with progress("datasets", unit="datasets") as datasets:
            datasets.note("tank/data")
            with progress("reading", 1 << 20) as reading:
                reading.advance(1 << 19)
                with progress("uploading") as uploading:
                    uploading.advance(5)
                    with progress("zfs diff", unit="rows"):
                        pass
        heard = [systemd.recv(1000).decode().removeprefix("STATUS=") for _ in range(3)]
        assert heard == [
            "tank/data: reading 0 B of 1.0 MiB",
            "tank/data: reading 512.0 KiB of 1.0 MiB, uploading",
            "tank/data: reading 512.0 KiB of 1.0 MiB, uploading 5 B, zfs diff",
        ]


def test_lines_have_priorities_in_the_journal_only(tmp_path, monkeypatch):
    lines = [(Level.INFO, "fine"), (Level.ERROR, "wrong\nvery")]
    with (tmp_path / "journal").open("w") as stream:
        assert worded(lines, stream) == "fine\nwrong\nvery"
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert worded(lines, stream) == "<6>fine\n<3>wrong\n<3>very"
    assert worded(lines, io.StringIO()) == "fine\nwrong\nvery"
