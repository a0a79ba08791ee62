"""Who gets in: whoever has the token, once in the URL and from then on in a cookie.

Before and after every page. Rule: without it nothing but a bare refusal, and with it nothing that could
change anything; what a browser would do on its own (run scripts, load from elsewhere) is forbidden to it.
"""

import ipaddress
import secrets
from hmac import compare_digest
from urllib.parse import urlsplit

from flask import Flask, Response, request

from zdiffsync.web.links import argument

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Gate:
    """The gate of a server that listens on `address` (an IP address) and `port`."""

    def __init__(self, address: str, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)  # not the token, which a terminal or a history may show
        self._cookie = f"zdiffsync-{port}"  # browsers do not tell ports apart
        self._address = ipaddress.ip_address(address)

    def install(self, app: Flask) -> None:
        """Put it before all pages of `app`."""
        app.before_request(self._refuse)
        app.after_request(self._secure)

    def _refuse(self) -> Response | None:
        """Return what to answer instead of the page; None: it may be shown."""
        if request.method not in {"GET", "HEAD"}:
            return _plain(405, "only for looking at")
        if not self._is_ours(request.environ.get("HTTP_HOST", "")):
            return _plain(403, "this server does not answer to that name")
        token = argument("token")
        if token and _equal(token, self.token):
            answer = Response(status=303, headers={"Location": "/"})
            answer.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict")
            return answer
        if not _equal(request.cookies.get(self._cookie, ""), self._session):
            return _plain(403, "open the address that zdiffsync web has printed, with its token")
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server.

        A page elsewhere can have its own name lead to this address (DNS rebinding), and would then be of the
        same origin as ours; but the browser sends that name.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name == "localhost":
            return True
        try:
            literal = ipaddress.ip_address(name)
        except ValueError:
            return False
        return literal == self._address or literal.is_loopback or not self._address.is_loopback

    @staticmethod
    def _secure(answer: Response) -> Response:
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer


def _equal(given: str, wanted: str) -> bool:
    return compare_digest(given.encode(errors="surrogateescape"), wanted.encode())


def _plain(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")
