"""`zdiffsync doctor`: everything a backup needs, checked; each failure with its fix.

Rule: whatever is broken, the rest is still looked at.
"""

import shutil
import sys
import textwrap
from dataclasses import asdict

import click

from zdiffsync.cli.context import App, pass_app
from zdiffsync.doctor.examine import examine
from zdiffsync.doctor.finding import Finding, Level
from zdiffsync.errors import ExitCode
from zdiffsync.model.text import plural

_WORDS = {Level.OK: ("ok", "green"), Level.WARNING: ("warning", "yellow"), Level.FAIL: ("FAIL", "red")}
_INDENT = 22  # characters before the text of a finding
_NARROW, _WIDE = 60, 120


@click.command()
@pass_app
def doctor(app: App) -> int:
    """Check everything a backup needs; say what to do about what is wrong."""
    found = []
    for finding in examine(app.config_path, app.repo):
        found.append(finding)
        if not (app.quiet and finding.level is Level.OK):
            _show(app, finding)
    levels = [finding.level for finding in found]
    failed, warned = levels.count(Level.FAIL), levels.count(Level.WARNING)
    code = ExitCode.TOOL if failed else ExitCode.INCOMPLETE if warned else ExitCode.DONE
    app.emit({"findings": [asdict(finding) for finding in found], "exit_code": int(code)})
    app.say(_sum(failed, warned))
    return code


def _sum(failed: int, warned: int) -> str:
    if not (failed or warned):
        return "\nAll is well."
    counts = [plural(failed, "failure")] if failed else []
    counts += [plural(warned, "warning")] if warned else []
    return f"\n{' and '.join(counts)}"


def _show(app: App, finding: Finding) -> None:
    word, color = _WORDS[finding.level]
    # Commands are printed as they are, however long: they are there to be copied.
    width = min(max(shutil.get_terminal_size().columns, _NARROW), _WIDE) if sys.stdout.isatty() else _WIDE
    said = finding.what if finding.repo is None else f"[{finding.repo}] {finding.what}"
    text = textwrap.wrap(
        said, width - _INDENT, break_long_words=False, break_on_hyphens=False
    ) or [""]  # fmt: skip
    gap = "\n" + " " * _INDENT
    app.show(f"{click.style(f'{word:<8}', fg=color)}{finding.topic:<{_INDENT - 8}}{gap.join(text)}")
    for line in [] if finding.fix is None else finding.fix.splitlines():
        app.show(f"{'':8}fix: {click.style(line, bold=True)}")
