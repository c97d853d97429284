"""A ccxt exchange turned to another address: every URL it knows, so that none can be forgotten."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from candelabra.errors import UsageError

__all__ = ["point_at"]


def point_at(exchange: Any, base_url: str) -> Any:
    """The same ccxt exchange (sync, async or pro) with every URL of its ``urls['api']`` at ``base_url`` (``http://127.0.0.1:8080``).

    Paths of requests stay as they are. Sockets keep their host as the first part of the path (``ws://127.0.0.1:8080/fstream.binance.com/ws``):
    ccxt tells spot from contracts by what it finds in a socket's URL. Raises UsageError for a base that is no http URL.
    """
    base = urlsplit(base_url)
    if base.scheme not in ("http", "https") or not base.netloc:
        raise UsageError(f"{base_url!r} is not an address to point an exchange at: write http://host:port")
    exchange.urls["api"] = _turned(exchange.urls["api"], base.scheme, base.netloc + base.path.rstrip("/"))
    return exchange


def _turned(urls: Any, scheme: str, address: str) -> Any:
    if isinstance(urls, dict):
        return {name: _turned(value, scheme, address) for name, value in urls.items()}
    if isinstance(urls, list):
        return [_turned(value, scheme, address) for value in urls]
    if not isinstance(urls, str) or "://" not in urls:
        return urls
    old_scheme, _, rest = urls.partition("://")
    host, slash, path = rest.partition("/")
    if old_scheme.startswith("ws"):
        return f"ws{scheme[4:]}://{address}/{host.partition(':')[0]}{slash}{path}"
    return f"{scheme}://{address}{slash}{path}"
