"""The command line of the campaign: tries faults, prints what came of them, keeps the table in the docs.

Each scenario is played in a process of its own. Rule: a row of the table is made again by its own pattern and
the seed.
"""

import argparse
import fnmatch
import multiprocessing
import os
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parent)]

# ruff: noqa: E402 - the checkout and the other tests' helpers are found only from here on
import pytest
import sim_doors
from campaign import Outcome, faults, sample, stage
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from random_faults import RandomFaults
from scenarios import SCENARIOS

_PAGE = HERE.parent.parent / "docs" / "reliability.md"
_BEGIN, _END = "<!-- made by scripts/faults: begin -->\n", "<!-- made by scripts/faults: end -->\n"
_RANDOM = "random"
_QUICK_HISTORIES, _LONG_HISTORIES = 25, 400


@dataclass(frozen=True, slots=True)
class Wish:
    """What to play: cases that match `only`; `long`: every step, and more random histories."""

    only: str
    long: bool
    seed: int

    def wants(self, case: str) -> bool:
        return fnmatch.fnmatchcase(case, self.only)


@dataclass(slots=True)
class Row:
    """What came of faults at one kind of step of one command."""

    whats: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    lost: int = 0


def play(name: str, wish: Wish) -> list[Outcome]:
    """Play all cases of one scenario, or the random histories."""
    with pytest.MonkeyPatch.context() as patch:
        sim_doors.open_doors(patch)
        if name == _RANDOM:
            return _random(wish)
        with stage(name) as made:
            every = list(faults(made.counts))
            chosen = every if wish.long or wish.only != "*" else sample(every, wish.seed)
            return [made.play(each) for each in chosen if wish.wants(made.case(each))]


def _random(wish: Wish) -> list[Outcome]:
    RandomFaults.outcomes = []
    examples = _LONG_HISTORIES if wish.long else _QUICK_HISTORIES
    run_state_machine_as_test(
        seed(wish.seed)(RandomFaults),
        settings=settings(
            max_examples=examples, stateful_step_count=12, deadline=None, database=None, print_blob=True,
            phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
    return RandomFaults.outcomes


def rows(outcomes: list[Outcome]) -> dict[tuple[str, str], Row]:
    """Sum outcomes up by command and kind of step."""
    found: dict[tuple[str, str], Row] = {}
    for each in (each for each in outcomes if each.ending != "missed"):
        place, _, what = each.case.rpartition("/")
        scenario, _, step = place.partition(": ")
        command = scenario.partition("/")[0]
        kind = "any step" if command == _RANDOM else step.partition("#")[0]
        row = found.setdefault((command, kind), Row())
        row.whats[what] += 1
        row.endings[each.ending] += 1
        row.lost += bool(each.problems)
    return found


def table(outcomes: list[Outcome], wish: Wish) -> str:
    """Return the table in Markdown."""
    lines = [
        "| command | struck at | with | tried | done | in part | failed | killed | lost | `--only` |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    total = Row()
    for (command, kind), row in sorted(rows(outcomes).items()):
        whats = ", ".join(row.whats) if command != _RANDOM else f"{len(row.whats)} kinds"
        again = f"'{_RANDOM}' --seed {wish.seed}" if command == _RANDOM else f"'{command}/*: {kind}#*'"
        lines.append(f"| {command} | {kind} | {whats} | {_figures(row)} | `{again}` |")
        total.endings += row.endings
        total.lost += row.lost
    lines.append(f"| **all** | | | {_figures(total)} | |")
    return "\n".join(lines) + "\n"


def _figures(row: Row) -> str:
    endings = [row.endings[each] for each in ("done", "incomplete", "failed", "killed")]
    return " | ".join(f"{figure:,}" for figure in (sum(endings), *endings, row.lost))


def keep(text: str) -> None:
    """Put the table into the docs."""
    page = _PAGE.read_text(encoding="utf-8")
    _PAGE.write_text(
        re.sub(
            f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", lambda _: _BEGIN + text + _END, page, flags=re.DOTALL
        ),
        encoding="utf-8",
    )


def main() -> int:
    """Play, print, keep; 1 when something was lost."""
    parser = argparse.ArgumentParser(prog="faults", description="Try faults at every step of every command.")
    parser.add_argument("--long", action="store_true", help="every step, and many more random histories")
    parser.add_argument("--seed", type=int, default=1, help="of the sample and the random histories (1)")
    parser.add_argument(
        "--only", default="*", metavar="PATTERN", help="cases that match; nothing is kept then"
    )
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at once")
    options = parser.parse_args()
    wish = Wish(options.only, options.long, options.seed)
    names = [_RANDOM] if wish.only == _RANDOM else [*SCENARIOS, *([_RANDOM] if wish.only == "*" else [])]
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
        for name, found in zip(names, pool.map(play, names, [wish] * len(names)), strict=True):
            outcomes += found
            if found:
                sys.stderr.write(f"{name}: {len(found):,} faults\n")
    for each in outcomes:
        if each.problems:
            sys.stdout.write(f"LOST {each.case} ({each.ending}): {'; '.join(each.problems)[:2000]}\n")
    text = table(outcomes, wish)
    sys.stdout.write(text)
    if wish.only == "*":
        keep(text)
    return int(any(each.problems for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
