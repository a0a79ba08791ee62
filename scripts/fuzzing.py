"""What scripts/fuzz does: rounds of all fuzz tests, and a table of their executions.

Every execution is counted by the test itself as it runs; a failure shows what Hypothesis reduced it to.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

ROUND = 1000  # examples of each target before the clock is looked at
FOLDER = "tests/fuzz"


def main(arguments: list[str]) -> int:
    """Fuzz for so many minutes; 0 when nothing failed."""
    try:
        minutes = float(arguments[0]) if arguments else 10.0
    except ValueError:
        sys.stderr.write(f"fuzz: {arguments[0]!r} is no number of minutes\n")
        return 2
    end = time.monotonic() + minutes * 60
    total: defaultdict[str, Counter[str]] = defaultdict(Counter)
    rounds, code = 0, 0
    while code == 0 and (rounds == 0 or time.monotonic() < end):
        code = one_round(total)
        rounds += 1
        show(total, rounds)
    return code


def one_round(total: defaultdict[str, Counter[str]]) -> int:
    """Run each fuzz test once, on new examples, and add to the counts; pytest's exit code."""
    with tempfile.TemporaryDirectory() as home:
        counts = Path(home, "counts")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=3600", FOLDER],
            env={**os.environ, "ZDIFFSYNC_EXAMPLES": str(ROUND), "ZDIFFSYNC_FUZZ_COUNTS": str(counts)},
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            sys.stdout.write(done.stdout)
        if counts.exists():
            for target, count in json.loads(counts.read_text()).items():
                total[target].update(count)
    return done.returncode


def show(total: dict[str, Counter[str]], rounds: int) -> None:
    """Print the table, as docs/reliability.md has it."""
    lines = ["| target | executions | refused | seconds |", "|---|---:|---:|---:|"]
    for target, count in sorted(total.items()):
        lines.append(f"| {target} | {count['runs']:,} | {count['refused']:,} | {count['seconds']:.0f} |")
    everything = sum(count["runs"] for count in total.values())
    sys.stdout.write("\n".join([*lines, "", f"{everything:,} executions in {rounds} rounds", ""]))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
