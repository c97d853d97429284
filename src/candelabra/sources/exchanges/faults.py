"""What an exchange's error means: ask again, wait, stop asking, or a mistake of whoever asks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from candelabra.errors import CandelabraError, SourceError, UsageError
from candelabra.sources.exchanges.answers import Heard
from candelabra.sources.exchanges.pace import Pace

__all__ = ["by_status", "meaning"]

_SHOWN: Final = 160


def by_status(heard: Heard, pace: Pace, what: str, said: str) -> SourceError | None:
    """What an answer's status alone says; the pace is told what concerns it. None: nothing."""
    name = pace.exchange
    if heard.status in (403, 451):
        why = (
            "does not serve the country of this address (451)"
            if heard.status == 451
            else "refuses this address (403), as a firewall does after too many requests or for a whole network"
        )
        refused = SourceError(f"{name} {why}: nothing more is asked of it; use another exchange, or its files with `candelabra import`")
        pace.refused(refused)
        return refused
    if heard.status in (418, 429):
        pace.too_fast(heard.retry_after_s, banned=heard.status == 418)
        return SourceError(f"{what}: {name} was asked too often ({said})", retryable=True)
    if heard.status is not None and heard.status >= 500:
        if heard.retry_after_s is not None:
            pace.too_fast(heard.retry_after_s)
        return SourceError(f"{what}: {name} is in trouble ({said})", retryable=True)
    return None


def meaning(error: Exception, heard: Heard, pace: Pace, what: str) -> CandelabraError:
    """The error to raise for one that came out of ccxt while it asked for ``what``; the pace is told what concerns it.

    Goes by the answer's status first, then by the class of the error *and* of what caused it: ccxt calls an answer that broke off an
    ``ExchangeError``, as if asking again could not help.
    """
    import ccxt

    name = pace.exchange
    told = by_status(heard, pace, what, _said(error, heard))
    if told is not None:
        return told
    if isinstance(error, ccxt.DDoSProtection):
        pace.too_fast(heard.retry_after_s)
        return SourceError(f"{what}: {name} was asked too often ({_said(error, heard)})", retryable=True)
    if isinstance(error, ccxt.AuthenticationError):
        return SourceError(f"{what}: {name} wants a key for that, which public data should not need ({_said(error, heard)})")
    if isinstance(error, ccxt.BadSymbol | ccxt.BadRequest | ccxt.NotSupported | ccxt.ArgumentsRequired):
        return UsageError(f"{what}: {name} cannot answer that ({_said(error, heard)})")
    if isinstance(error, asyncio.TimeoutError | ccxt.RequestTimeout):
        return SourceError(f"{what}: {name} did not answer in time", retryable=True)
    if isinstance(error, ccxt.NetworkError) or _of_the_line(error) or _of_the_line(error.__cause__):
        return SourceError(f"{what}: the line to {name} broke ({_said(error, heard)})", retryable=True)
    return SourceError(f"{what}: {name} gave an answer that cannot be read ({_said(error, heard)})", retryable=True)


def _of_the_line(error: BaseException | None) -> bool:
    import aiohttp

    return isinstance(error, aiohttp.ClientError | OSError | TimeoutError | EOFError)


def _said(error: Any, heard: Heard) -> str:
    text = " ".join(str(error).split())
    status = f"status {heard.status}, " if heard.status is not None and heard.status != 200 else ""
    return f"{status}{type(error).__name__}: {text[:_SHOWN]}{'…' if len(text) > _SHOWN else ''}"
