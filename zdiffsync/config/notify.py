"""The [notify] table of the configuration: whom to tell how a run ended.

Rule: addresses can be secrets, so no message quotes them.
"""

from typing import Literal
from urllib.parse import urlsplit

import msgspec


class NotifyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table; docs/config.md describes every key."""

    urls: list[str] = []
    when: Literal["problem", "change", "always"] = "problem"
    healthcheck: str | None = None

    def __post_init__(self) -> None:
        """Check what types alone cannot. ValueError names the key."""
        for number, url in enumerate(self.urls, 1):
            if "://" not in url:
                raise ValueError(
                    f"urls: number {number} is no address as Apprise has them, like ntfy://topic"
                )
        if self.healthcheck is not None and not _is_web_address(self.healthcheck):
            raise ValueError("healthcheck must be an address that begins with https://")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
