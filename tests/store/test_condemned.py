"""Lists of what prune is going to delete: told by their names."""

import pytest

from zdiffsync.errors import IntegrityError
from zdiffsync.store.condemned import read_condemned


@pytest.mark.parametrize(
    "name",
    ["20261124T050856Z", "20261124T250856Z-0123abcd", "20261324T050856Z-0123abcd",
     "00000000T000000Z-0123abcd",
     "20261124T050856Z-0123abcd.x", "notes.txt"],
)  # fmt: skip
def test_what_has_no_name_of_a_list(name):
    class Area:
        def sizes(self, folder):
            return {f"{folder}/{name}": 2}

    with pytest.raises(
        IntegrityError, match=f"condemned/{name} on the remote is no list of prune's; move it"
    ):
        read_condemned(Area())
