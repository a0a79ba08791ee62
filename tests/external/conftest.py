"""The restic versions the door is tried with. Rule: a missing one is a failure, never a skip."""

from pathlib import Path

import pytest

from setup_cache import setup_cache


def restic_path(version):
    cache = setup_cache()
    path = Path(cache, "restic", version, "restic")
    if not path.exists():
        pytest.fail(f"restic {version} is not at {path}; run scripts/setup")
    return str(path)


@pytest.fixture(scope="module", params=["0.18", "0.19"])
def restic_binary(request):
    return restic_path(request.param)


@pytest.fixture(scope="session")
def one_restic():
    """For what does not depend on restic's version."""
    return restic_path("0.18")


@pytest.fixture(scope="session")
def old_restic():
    return restic_path("0.14")
