"""What an emulator was asked and what it did wrong, for a test to look at afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Call", "SocketFault"]


@dataclass(frozen=True)
class Call:
    """A request or the dial of a socket (status 101 when it was let in, 0 when the connection ended without an answer).

    ``at_ms``: by the emulator's clock; ``world_s``: `time.monotonic()`; ``number`` counts calls for candles from 0 (-1: another call);
    ``early``: it came before Retry-After was over.
    """

    at_ms: int
    world_s: float
    exchange: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    fault: str | None = None
    number: int = -1
    early: bool = False


@dataclass(frozen=True)
class SocketFault:
    """A fault that a connection met at the bar that opened at ``open_ms``."""

    at_ms: int
    symbol: str
    open_ms: int
    kind: str
