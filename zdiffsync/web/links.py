"""Addresses of pages: everything but the page's name stands in the query, bytes as they are.

Between pages and the browser. Rule: a path goes out and comes back byte for byte, whatever it holds; paths
of URLs would not (browsers resolve dots, servers decode them as UTF-8).
"""

import os
from urllib.parse import parse_qsl, quote, urlencode

from flask import request


def link(page: str, /, **values: str | bytes | int | None) -> str:
    """Return the address of a page; values that are None are left out."""
    query = urlencode(
        {key: value for key, value in values.items() if value is not None}, quote_via=quote, safe="/:@"
    )
    return f"/{page}?{query}" if query else f"/{page}"


def argument(name: str) -> str:
    """Return a value of the query, '' where there is none; undecodable bytes as U+DC80 to U+DCFF."""
    query = request.query_string.decode("latin-1")
    values = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return next((value for key, value in values if key == name), "")


def path_argument() -> bytes:
    """Return the path that is asked for (b'' is the root), as the catalog has it."""
    parts = os.fsencode(argument("path")).split(b"/")
    return b"/".join(part for part in parts if part)
