"""The recorded cases of `zfs diff`: each a tree, a change, and what makes it hard. Case 74 came later."""

# importing a module enters its cases
import cases_content  # noqa: F401 - registers
import cases_links  # noqa: F401 - registers
import cases_metadata  # noqa: F401 - registers
import cases_moves  # noqa: F401 - registers
import cases_names  # noqa: F401 - registers
import cases_open  # noqa: F401 - registers
from cases_registry import CASES, Case


def all_cases() -> list[Case]:
    """Return every case, by number."""
    return sorted(CASES, key=lambda each: each.number)
