"""The systemd units that run zdiffsync every night: templates in this folder, filled in.

`zdiffsync schedule install` writes them for this machine; the Debian package ships them for all.
Rule: what differs between machines is a field of NightlyJob, and all other lines stand in the templates.
"""

from dataclasses import dataclass
from importlib.resources import files
from string import Template

SERVICE = "zdiffsync.service"
TIMER = "zdiffsync.timer"
NIGHTLY = "02:30"

_SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PROTECTED = ("/usr", "/boot", "/efi", "/etc")  # by ProtectSystem=full


@dataclass(frozen=True, slots=True)
class NightlyJob:
    """What the units say of one machine.

    `program` and `config` (None: the default one) are absolute paths; `at` is a calendar expression of
    systemd's; `tools` are folders that hold restic and the like, `written` folders a run writes to;
    `user` makes units for a user's own systemd.
    """

    program: str = "/usr/bin/zdiffsync"
    config: str | None = None
    environment: str = "/etc/zdiffsync/environment"
    at: str = NIGHTLY
    tools: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    user: bool = False

    @property
    def command(self) -> list[str]:
        """The command line of a run."""
        options = [] if self.config is None else ["-c", self.config]
        return [self.program, *options, "run"]

    def units(self) -> dict[str, str]:
        """Return the text of each unit by its file name."""
        identity = [] if self.user else ["User=root"]  # which also sets HOME, where rclone.conf is
        if more := [folder for folder in dict.fromkeys(self.tools) if folder not in _SEARCHED]:
            identity.append(f"Environment={_quoted('PATH=' + ':'.join([*more, *_SEARCHED]))}")
        # A user's systemd knows neither the network's target nor ours, and its sandboxes change the user
        # namespace, in which ZFS grants nothing.
        order = [] if self.user else ["Wants=network-online.target", "After=network-online.target zfs.target"]
        values = {
            "command": " ".join(_quoted(word).replace("$", "$$") for word in self.command),
            "environment": _escaped(self.environment),
            "at": _escaped(self.at),
            "order": _lines(order),
            "identity": _lines(identity),
            "sandbox": "" if self.user else self._sandbox(),
        }
        return {name: _template(name).substitute(values).rstrip() + "\n" for name in (SERVICE, TIMER)}

    def _sandbox(self) -> str:
        protected = tuple(f"{folder}/" for folder in _PROTECTED)
        paths = [path for path in dict.fromkeys(self.written) if f"{path}/".startswith(protected)]
        writable = [f"ReadWritePaths={_quoted('-' + path)}" for path in paths]
        return _template("sandbox.conf").substitute(writable=_lines(writable))


def _template(name: str) -> Template:
    return Template((files(__package__) / name).read_text(encoding="utf-8"))


def _lines(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """Return a word as systemd's unquoting gives it back."""
    text = _escaped(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"' if any(c.isspace() or c in "\"'\\;" for c in text) else text
