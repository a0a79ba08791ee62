"""Points as the rules of `forget` see them, and a local time zone to see them in."""

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass

SECOND = 10**9


@dataclass(frozen=True)
class Point:
    created_ns: int
    tags: tuple[str, ...] = ()
    keep: bool = False


@contextmanager
def local_zone(name):
    before = os.environ.get("TZ")
    try:
        os.environ["TZ"] = name
        time.tzset()
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()
