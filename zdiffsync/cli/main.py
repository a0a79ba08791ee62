"""The entry point: global options, the commands, and how errors become exit codes.

Rule: every error a user can cause ends as one sentence on stderr and the code of its class.
"""

import json
import resource
import signal
import sys
from importlib import import_module
from pathlib import Path

import click

from zdiffsync import __version__
from zdiffsync.cli.context import make_app
from zdiffsync.cli.failures import told
from zdiffsync.cli.journal import Level, worded
from zdiffsync.cli.shells import register
from zdiffsync.errors import ExitCode

_DEEP = 20_000


_COMMANDS = (
    "init", "doctor",
    "run", "status", "points", "ls", "find", "history", "diff", "cat", "restore", "mount", "check",
    "repair", "forget", "prune", "rebuild", "kit", "web", "schedule", "notify",
    "safe-to-destroy",
)  # fmt: skip


class _Commands(click.Group):
    """Imports a command's module once the command is asked for: most need little of the whole."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, sorted."""
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None for an unknown name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"zdiffsync.cli.{module}"), module)
        return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Configuration file.")
@click.option("-r", "--repo", metavar="NAME", help="Of several [[remote]] tables use this one only.")
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object instead of text.")
@click.option("-v", "--verbose", count=True, help="Say more; show the traceback of a bug.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("--no-progress", is_flag=True, help="Draw no progress bars.")
@click.version_option(__version__, prog_name="zdiffsync")
@click.pass_context
def group(
    context: click.Context,
    config: Path | None,
    *,
    repo: str | None,
    json_output: bool,
    verbose: int,
    quiet: bool,
    no_progress: bool,
) -> None:
    """Off-site backup for ZFS whose nightly cost follows what changed, not what exists."""
    context.obj = make_app(
        config, repo, json_output=json_output, verbosity=-1 if quiet else verbose, no_progress=no_progress
    )


register()


def main() -> None:
    """Run the command line and leave with its exit code; SIGTERM ends it as tidily as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A restore goes down one call and one open directory a level, and trees can be a thousand levels deep.
    sys.setrecursionlimit(_DEEP)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command and return its exit code; prints, never raises."""
    as_json = "--json" in arguments
    try:
        result = group.main(arguments, prog_name="zdiffsync", standalone_mode=False)
    except click.ClickException as error:
        if as_json:
            return _complain(error.format_message(), ExitCode.USAGE, as_json=True)
        error.show()
        return ExitCode.USAGE
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.BUG
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - a bug must not look like success
        text, code = told(error, verbose=any(flag in arguments for flag in ("-v", "--verbose")))
        return _complain(text, code, as_json=as_json)
    return int(result) if isinstance(result, int) else ExitCode.DONE


def _complain(text: str, code: int, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(json.dumps({"error": text, "exit_code": int(code)}) + "\n")
    else:
        sys.stderr.write(worded([(Level.ERROR, f"zdiffsync: {text}")], sys.stderr) + "\n")
    return int(code)
