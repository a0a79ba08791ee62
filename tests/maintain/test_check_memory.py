"""What checks remember from one time to the next."""

import time

from zdiffsync.maintain.memory import CheckMemory

SECOND = 10**9


def test_a_base_begun_in_the_second_of_the_mending_is_trusted(tmp_path):
    memory = CheckMemory(tmp_path, "0" * 32)
    before = time.time_ns()
    memory.bases_damaged(["pack"])
    memory.bases_mended()
    assert memory.base_packs == frozenset()
    snapshot_created = time.time_ns() // SECOND * SECOND  # ZFS tells whole seconds
    assert before - SECOND < memory.distrusted_ns <= snapshot_created
    assert CheckMemory(tmp_path, "0" * 32).distrusted_ns == memory.distrusted_ns
