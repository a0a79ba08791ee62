"""A catalog in each of its places; the PostgreSQL server starts when first needed."""

import pytest
from places import FilePlace, ServerPlace

import postgresql_server


@pytest.fixture(scope="session")
def postgresql():
    with postgresql_server.running() as server:
        yield server


@pytest.fixture(params=["file", "server"])
def place(request, tmp_path):
    if request.param == "file":
        yield FilePlace(tmp_path)
    else:
        server = request.getfixturevalue("postgresql")
        yield ServerPlace(tmp_path, server)
        server.drop_schemas()
