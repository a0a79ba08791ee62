"""The words of `status`. Rule: a table at a glance, then a line for all that is not as it should be."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import click

from zdiffsync.cli.tables import Cell, ago, back, hanging, moment, table
from zdiffsync.errors import named
from zdiffsync.maintain.fleet import HostDataset
from zdiffsync.maintain.run_record import Attempt, RunRecord
from zdiffsync.maintain.run_stage import stages
from zdiffsync.maintain.status import Checked, DatasetStatus, NextBase, Status, age
from zdiffsync.model.text import local, plural, size

_COLOURS = {
    "ok": "green", "incomplete": "yellow", "late": "red", "failing": "red", "tripped": "red",
    "not covered": "yellow", "never": "yellow", "running": "cyan",
}  # fmt: skip
_SIGNS = {
    "point": ("+", "point"), "failed": ("x", "failed"), "tripped": ("!", "tripped"),
    "not_covered": ("-", "not covered"), "nothing_new": ("=", "nothing new"),
}  # fmt: skip
_HEAD = ("DATASET", "STATE", "LAST POINT", "AGE", "POINTS", "DEPTH", "NEXT BASE")
_HOSTS_HEAD = ("DATASET", "STATE", "LAST POINT", "AGE", "POINTS", "PACKS")

_NAMED = 3
Told = tuple[str, str, str | None]  # of what, what is to be said, colour


def status_lines(status: Status, now_ns: int, width: int, *, detailed: bool) -> list[str]:
    """Return lines of at most `width` columns, in colour; `detailed`: all there is about each dataset."""
    lines = [f"{status.host} -> {status.remote}", ""]
    lines += table(_HEAD, [_row(each, now_ns) for each in status.datasets], width, "lllrrrl")
    if told := [line for each in _together(_told(status)) for line in hanging(*each, width)]:
        lines += ["", *told]
    if detailed:
        for each in status.datasets:
            lines += ["", each.dataset, *(f"  {line}" for line in _facts(_details(each, now_ns), width - 2))]
    return [*lines, "", *_facts(_whole(status), width)]


def host_lines(remote: str, found: Sequence[HostDataset], now_ns: int, width: int) -> list[str]:
    """Return the datasets of all hosts as lines."""
    rows: list[list[Cell] | str] = []
    host = None
    for each in found:
        if each.host != host:
            host = each.host
            rows.append(click.style(host, bold=True))
        rows.append(
            [
                (f"  {each.dataset}", None), (each.state, _COLOURS[each.state]),
                (moment(each.last.created_ns, now_ns), None), (ago(age(each.last, now_ns)), None),
                (f"{each.points:,}", None), (size(each.packed), None),
            ]
        )  # fmt: skip
    lines = [f"all hosts -> {remote}", "", *table(_HOSTS_HEAD, rows, width, "lllrrr")]
    if not found:
        lines.append("no points yet")
    told = [(f"{each.host}, {each.dataset}", each.why, _COLOURS[each.state]) for each in found if each.why]
    return [*lines, *([""] if told else []), *(line for each in told for line in hanging(*each, width))]


def _row(each: DatasetStatus, now_ns: int) -> list[Cell]:
    state = "running" if each.running else each.state
    shown = f"{state} ({each.record.failures})" if state == "failing" and each.record.failures else state
    cells: list[Cell] = [(each.dataset, None), (shown, _COLOURS[state])]
    if each.last is None:
        return [*cells, *[("", None)] * 5]
    late = "red" if each.state == "late" else None
    return [
        *cells, (moment(each.last.created_ns, now_ns), None), (ago(age(each.last, now_ns)), late),
        (f"{each.points:,}", None), (f"{each.last.sequence:,}", None),
        (_due(each.next_base, now_ns) if each.next_base else "", None),
    ]  # fmt: skip


def _due(base: NextBase, now_ns: int) -> str:
    left = base.due_ns - now_ns
    when = "next run" if left <= 0 else f"in {ago(left)}"
    return f"{when}, size" if base.by_size else when


def _told(status: Status) -> Iterator[Told]:
    for text in status.problems:
        yield "", text, "red"
    for each in status.datasets:
        yield from _of_dataset(each, status)
    for text in status.notes:
        yield "", text, None
    if status.former:
        names = ", ".join(f"{each.dataset} ({plural(each.points, 'point')})" for each in status.former)
        yield "", f"kept, and not backed up any more: {names}", None


def _together(told: Iterable[Told]) -> Iterator[Told]:
    """Say once what is to be said of several datasets."""
    leads: dict[tuple[str, str | None], list[str]] = {}
    for lead, text, colour in told:
        leads.setdefault((text, colour), []).append(lead)
    for (text, colour), names in leads.items():
        more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
        yield ", ".join(names[:_NAMED]) + more, text, colour


def _of_dataset(each: DatasetStatus, status: Status) -> Iterator[Told]:
    colour = _COLOURS[each.state]
    if each.is_new:
        yield each.dataset, "new; the first base comes with the next run", None
    elif each.state == "failing" and each.record.failures > 1:
        since = local((each.record.failing_since or 0) * 10**9)
        why = "" if each.why == status.record.error else f": {each.why}"
        yield each.dataset, f"failed {each.record.failures} times since {since}{why}", colour
    elif each.why is not None and each.why != status.record.error:
        yield each.dataset, each.why, colour
    if each.interrupted is not None and not each.running:
        yield each.dataset, f"a run broke off at {each.interrupted}; the next one finishes it", None
    if each.snapshot_there is False and each.last is not None:
        gone = f"the snapshot of the last point is gone ({each.last.snapshot}), so the next one is a base"
        yield each.dataset, gone, None
    if lately := _lately(each.record.attempts):
        yield each.dataset, lately, None


def _lately(attempts: Sequence[Attempt]) -> str:
    misses = sum(each.misses for each in attempts)
    uncertified = [each.uncertified for each in attempts if each.uncertified]
    compared = [each.fallback for each in attempts if each.fallback]
    parts = [f"zfs diff missed {plural(misses, 'change')}, which the send stream showed"] if misses else []
    parts += [f"{plural(len(uncertified), 'point')} uncertified ({uncertified[-1]})"] if uncertified else []
    parts += [f"{plural(len(compared), 'time')} whole trees compared ({compared[-1]})"] if compared else []
    return f"in the last {plural(len(attempts), 'run')} {'; '.join(parts)}" if parts else ""


def _details(each: DatasetStatus, now_ns: int) -> Iterator[tuple[str, str]]:
    if (last := each.last) is not None:
        yield "last point", f"{last.key}, {last.kind}, {local(last.created_ns)}, {back(age(last, now_ns))}"
        held = {True: "is there", False: "is gone", None: "could not be looked for"}[each.snapshot_there]
        yield "snapshot", f"{last.snapshot} {held}"
        yield "chain", f"base of {local(last.base_ns)}, {plural(last.sequence, 'increment')} on it"
    if (base := each.next_base) is not None:
        why = "by size" if base.by_size else "by age"
        yield (
            "next base",
            f"{_due(base, now_ns).removesuffix(', size')}, {why}; room for increments {base.filled:.0%} full",
        )
    if each.oldest_ns is not None:
        yield "points", f"{each.points:,} since {local(each.oldest_ns)}, {size(each.packed)} in packs"
    if each.record.attempts:
        signs = " ".join(_SIGNS[attempt.outcome][0] for attempt in each.record.attempts)
        used = {_SIGNS[attempt.outcome] for attempt in each.record.attempts}
        yield "runs", f"{signs}  ({', '.join(' '.join(sign) for sign in sorted(used))})"


def _whole(status: Status) -> Iterator[tuple[str, str]]:
    record, holder = status.record, status.holder
    if holder is not None:
        doing = "".join(f"; {part}" for part in (status.at_work, stages(status.bars)) if part)
        since = datetime.strptime(holder.since, "%Y-%m-%d %H:%M:%S%z").astimezone()
        yield "now", f"{holder.what} since {since:%Y-%m-%d %H:%M:%S}, process {holder.pid}{doing}"
    if record.started and not status.is_running:
        yield "last run", _last_run(record)
    elif not record.started:
        yield "last run", "none is on record"
    if record.remote is not None:
        found = record.remote
        parts = f"bases {size(found.bases)}, packs and manifests {size(found.others)}"
        yield "remote", f"{size(found.total)} ({parts}) on {local(found.at * 10**9)}"
    yield "checked", _checked(status.checked)


def _last_run(record: RunRecord) -> str:
    began, code = local(record.started * 10**9), record.exit_code
    if record.finished is None or code is None:
        return f"{began}, never came to its end"
    return f"{began}, took {ago(int(record.seconds * 10**9))}, exit code {named(code)}"


def _checked(checked: Checked) -> str:
    if checked.oldest is None:
        return "nothing has been read back yet; see zdiffsync check"
    share = checked.read / checked.size if checked.size else 1.0
    bases = f"; {checked.bases:.0%} of the bases in this round" if checked.bases else ""
    return f"{share:.0%} of packs were read back, all since {local(checked.oldest * 10**9)}{bases}"


def _facts(facts: Iterator[tuple[str, str]], width: int) -> list[str]:
    return [
        line
        for name, text in facts
        for line in hanging(name.ljust(10), text, None, width, between=" ", indent=11)
    ]
