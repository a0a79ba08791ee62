"""A month of nights on real ZFS, with a clock that is set forward: who looks, or is told, learns the truth.

Edits, other tools, an outage, a volume, a locked key, ransomware, a kill, renames, rollbacks. What is
expected of each night stands in the calendar.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from history_world import destroy
from machine import IN_LAB
from month import House, Night

pytestmark = [
    pytest.mark.zfs,
    pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning"),  # a module of Apprise's asks for it
    pytest.mark.timeout(1800),
]

NAMES = ("", "/home", "/mail", "/media")
FIRST = dict.fromkeys(NAMES, "first point")
LATE = dict.fromkeys(NAMES, "late")
FAILING = dict.fromkeys(NAMES, "failing")
AGAIN = "backups work again"
GONE = "of the last point is gone"

CALENDAR = (
    Night(House.rest, base=FIRST),
    Night(House.work),
    Night(House.other_tools),
    Night(House.rest),
    Night(House.force_away, base={"/home": GONE}),
    Night(House.work),
    Night(House.rest, code=None, states=LATE),
    Night(House.work),
    Night(House.lose_remote, code=5, states=FAILING, title="backup failed"),
    Night(House.rest, code=5, states=FAILING, title="backup failed"),
    Night(House.find_remote, title=AGAIN),
    Night(House.make_volume, code=3, states={"/volume": "not covered"}, title="backup incomplete"),
    Night(House.work, code=3, states={"/volume": "not covered"}, title="backup incomplete"),
    Night(House.take_volume_away, title=AGAIN),
    Night(House.unload_key, code=3, states={"/mail": "not covered"}, title="backup incomplete"),
    Night(House.load_key, title=AGAIN),
    Night(
        House.encrypt,
        code=3,
        states={"/media": "tripped"},
        title="NOT BACKED UP, waits for your word: {media}",
    ),
    Night(House.go_back, title=AGAIN),
    Night(
        House.delete_much,
        code=3,
        states={"/media": "tripped"},
        title="NOT BACKED UP, waits for your word: {media}",
    ),
    Night(House.rest, arguments=("--accept-changes",), title=AGAIN),
    Night(House.kill, code=None, states=FAILING),
    Night(House.work),
    Night(House.rename),
    Night(House.rename_back),
    Night(House.go_back_too_far, base={"/media": GONE}),
    Night(House.work),
    Night(House.work, base=dict.fromkeys(("", "/mail"), "days old")),
    Night(House.other_tools),
    Night(House.work),
    Night(House.rest),
)


@pytest.fixture
def house(pool: str, tmp_path: Path) -> Iterator[House]:
    assert IN_LAB, "this test sets the clock: run it in scripts/zfs-lab"
    made = House(pool, tmp_path)
    yield made
    made.close()
    destroy(made.parent)


def test_every_morning_of_a_month_shows_what_the_night_was(house: House) -> None:
    for night in CALENDAR:
        house.play(night)
    house.compare(8)
