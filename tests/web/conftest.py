"""A repository to look at, and browsers that do."""

from pathlib import Path

import pytest

from mounted_world import World
from web_world import make_points
from zdiffsync.cli.context import make_app as make_context
from zdiffsync.config.looking import look_of
from zdiffsync.maintain.status_look import look_at
from zdiffsync.web.app import make_app
from zdiffsync.web.gate import Gate
from zdiffsync.web.source import Source


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A repository with a base and two increments."""
    world = World(tmp_path_factory.mktemp("web"))
    make_points(world)
    return world


@pytest.fixture(scope="session")
def source(world):
    """What the pages read from."""
    context = make_context(Path(world.config), json_output=False, verbosity=0, no_progress=True)
    with context.reading() as reading:
        yield Source(
            reading.catalog, reading.bases, reading.fetch, None, "nas:backup",
            lambda now_ns: look_at(look_of(reading.config), reading.catalog, now_ns),
        )  # fmt: skip


@pytest.fixture
def gate():
    return Gate("127.0.0.1", 4711)


@pytest.fixture
def stranger(source, gate):
    """A browser that has not shown the token."""
    return make_app(source, gate).test_client()


@pytest.fixture
def client(stranger, gate):
    """A browser that has."""
    assert stranger.get(f"/?token={gate.token}").status_code == 303
    return stranger
