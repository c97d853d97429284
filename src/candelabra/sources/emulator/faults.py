"""What can go wrong with an exchange, by name: drawn by seed for storms, or written down call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final

import numpy as np

from candelabra.errors import UsageError
from candelabra.sources.emulator.noise import draw, salted, share

__all__ = ["PERMANENT", "REST_FAULTS", "SOCKET_FAULTS", "STORM_REST", "Faults"]

REST_FAULTS: Final = {
    "429": "too many requests, with Retry-After",
    "418": "banned, with Retry-After",
    "403": "forbidden by a firewall",
    "451": "not available in this country",
    "500": "server error",
    "502-html": "bad gateway, a page of HTML",
    "504": "gateway time-out",
    "error-internal": "the exchange's own internal error (Binance -1000), status 500",
    "error-timeout": "the exchange's own time-out (Binance -1001), status 200",
    "error-busy": "the exchange's own overload (Binance -1008), status 503",
    "html": "a page of HTML with status 200",
    "object": "{} with status 200",
    "null": "null with status 200",
    "empty-body": "nothing with status 200",
    "hang": "no answer for `hang_s` seconds, then the connection ends",
    "reset": "connection reset before the answer",
    "truncated": "half the JSON, with the Content-Length of the half",
    "cut-length": "half the JSON, with the Content-Length of the whole",
    "cut-chunked": "half the JSON in chunks, then the connection ends",
    "duplicate": "a row twice",
    "shuffled": "rows out of order",
    "gap": "rows left out of the middle",
    "empty-list": "no rows",
    "close-null": "a close that is null",
    "close-empty": "a close that is an empty text",
    "close-nan": "a close that is the text NaN",
    "close-infinity": "a close that is the text Infinity",
    "negative-volume": "a volume below 0",
    "high-below-low": "high and low exchanged",
    "time-null": "a time that is null",
    "time-seconds": "a time in the wrong unit (seconds for milliseconds, or the reverse)",
    "row-object": "a row that is an object where it should be a list",
    "short-row": "a row of three fields",
    "revised": "a closed candle with another close, and nothing that says so",
}
"""Kinds of faults of requests."""

PERMANENT: Final = ("403", "451")
"""Kinds that asking again does not mend."""

STORM_REST: Final = tuple(k for k in REST_FAULTS if k not in (*PERMANENT, "hang", "revised"))
"""Kinds of a storm by default: those that asking again mends, that cost no waiting, and that can be seen in the answer or the next one."""

SOCKET_FAULTS: Final = {
    "abort": "the connection is gone",
    "close-1001": "closed by the exchange: going away",
    "frozen": "nothing any more, no answer to pings either",
    "silent": "no more candles, pings are answered",
    "truncated": "half a JSON frame",
    "text": "a frame that is no JSON",
    "unknown-event": "an event that nobody knows",
    "missing-fields": "a candle without its fields",
    "older-repeated": "the candle before, once more",
    "older-revised": "the candle before, with another close",
    "error-frame": "a frame that complains of too many requests",
    "skip": "no frames for this candle and the next",
    "late-older": "a candle of ten bars ago",
    "refused": "the connection is gone, and the next three dials are refused (503, 503, 429 with Retry-After)",
}
"""Kinds of faults of sockets."""


@dataclass(frozen=True)
class Faults:
    """Which calls and which candles meet a fault; the same seed, the same faults.

    ``rest``: share of the calls for candles that meet one of ``rest_kinds``; ``script``: calls for candles that certainly do, by number
    from 0 (``{0: "429"}``; -1 stands for every call). ``socket``: share of announced candles that do; ``socket_script``: by the candle's
    number, in bars since the first that was announced. ``everywhere``: other calls (markets, time) count and fail too.
    ``retry_after_s``: of 429, 418 and refused dials, in the exchange's seconds; ``hang_s``: in the world's.

    >>> Faults(seed=1, rest=0.25).of_call(3) == Faults(seed=1, rest=0.25).of_call(3)
    True
    """

    seed: int = 0
    rest: float = 0.0
    rest_kinds: Sequence[str] = STORM_REST
    script: Mapping[int, str] = field(default_factory=dict)
    socket: float = 0.0
    socket_kinds: Sequence[str] = tuple(SOCKET_FAULTS)
    socket_script: Mapping[int, str] = field(default_factory=dict)
    everywhere: bool = False
    retry_after_s: int = 1
    hang_s: float = 30.0

    def __post_init__(self) -> None:
        _known(REST_FAULTS, (*self.rest_kinds, *self.script.values()))
        _known(SOCKET_FAULTS, (*self.socket_kinds, *self.socket_script.values()))

    def of_call(self, number: int) -> str | None:
        """The fault that the ``number``-th call meets."""
        if number in self.script or -1 in self.script:
            return self.script.get(number, self.script.get(-1))
        return _drawn(salted(self.seed, "rest"), number, self.rest, self.rest_kinds)

    def of_candle(self, symbol: str, number: int, since_start: int) -> str | None:
        """The fault that the announcements of a bar meet; ``number`` on the timeframe's grid, ``since_start`` from the emulator's first."""
        if since_start in self.socket_script:
            return self.socket_script[since_start]
        return _drawn(salted(self.seed, "socket", symbol), number, self.socket, self.socket_kinds)

    def choice(self, number: int, below: int) -> int:
        """A number in [0, below) for a fault's detail (which row), by seed."""
        return int(draw(salted(self.seed, "detail"), np.array([number]))[0] % np.uint64(max(1, below)))


def _known(known: Mapping[str, str], given: Sequence[str]) -> None:
    for kind in given:
        if kind not in known:
            near = get_close_matches(kind, known, 1)
            help_ = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise UsageError(f"{kind!r} is no fault that can be emulated: {help_}")


def _drawn(key: int, number: int, rate: float, kinds: Sequence[str]) -> str | None:
    index = np.array([number], np.int64)
    if not rate or not kinds or share(key, index)[0] >= rate:
        return None
    return kinds[int(draw(key ^ 9, index)[0] % np.uint64(len(kinds)))]
