"""What a running emulator knows: markets, clock, plan of faults, and what has happened so far."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from candelabra.sources.emulator.clocks import SkewedClock
from candelabra.sources.emulator.faults import Faults
from candelabra.sources.emulator.limits import Limiter
from candelabra.sources.emulator.log import Call, SocketFault
from candelabra.sources.emulator.market import EmulatedMarket
from candelabra.sources.emulator.wire import Exchange, Subscription, World
from candelabra.sources.exchanges.clock import Clock

__all__ = ["Pace", "State"]


@dataclass(frozen=True)
class Pace:
    """What is allowed (None: what the real exchange allows) and how long a ban is (s)."""

    calls_per_second: float | None
    burst: int | None
    ban_s: int

    def limiter(self, exchange: Exchange) -> Limiter:
        """A fresh limiter of an exchange."""
        given, burst = self.calls_per_second, self.burst
        rate = exchange.calls_per_second if given is None else given
        least = exchange.burst if given is None else max(1, math.ceil(min(given, 1e6)))
        return Limiter(rate, least if burst is None else burst, exchange.ban_status, self.ban_s)


class State:
    """Shared by the thread that serves and the one that asks; `restart` begins it anew."""

    def __init__(
        self,
        markets: Mapping[str, EmulatedMarket],
        exchanges: Sequence[Exchange],
        clock: Clock,
        own_clock: SkewedClock,
        pace: Pace,
        updates: int,
        faults: Faults,
    ) -> None:
        self.markets, self.exchanges, self.clock, self.own_clock, self.updates = markets, exchanges, clock, own_clock, updates
        self._pace, self._lock = pace, threading.Lock()
        self.restart(faults)

    def restart(self, faults: Faults) -> None:
        """Another plan of faults, nothing has happened yet."""
        with self._lock:
            self.faults = faults
            self.limiters = {e.name: self._pace.limiter(e) for e in self.exchanges}
            self.refused_dials: list[int] = []
            self._calls: list[Call] = []
            self._socket_faults: list[SocketFault] = []
            self._number = 0
            self._met: set[tuple[str, str, int]] = set()
            self._began: dict[tuple[str, str], int] = {}

    def world(self, exchange: Exchange) -> World:
        """What an exchange knows now."""
        return World(self.markets, self.own_clock.now_ms(), exchange.quiet_bars)

    def calls(self) -> tuple[Call, ...]:
        """Requests and dials in order of arrival."""
        with self._lock:
            return tuple(self._calls)

    def socket_faults(self) -> tuple[SocketFault, ...]:
        """Faults that sockets met."""
        with self._lock:
            return tuple(self._socket_faults)

    def note(self, call: Call) -> int:
        """Write a call into the log; gives its place."""
        with self._lock:
            self._calls.append(call)
            return len(self._calls) - 1

    def amend(self, place: int, call: Call) -> None:
        """Write what became of a call over what was noted when it came."""
        with self._lock:
            if place < len(self._calls) and self._calls[place].world_s == call.world_s:  # not another log's since
                self._calls[place] = call

    def next_number(self) -> int:
        """The number of the call that now comes, for the plan of faults."""
        with self._lock:
            self._number += 1
            return self._number - 1

    def socket_fault(self, subscription: Subscription, open_ms: int, update: int) -> str | None:
        """The fault to be met now, each once: at its bar's own update, or the first after it."""
        symbol, frame = subscription.market.symbol, subscription.timeframe
        number = int(frame.index(open_ms))
        place = (symbol, frame.name, number)
        with self._lock:
            first = self._began.setdefault(place[:2], number)
            kind = self.faults.of_candle(symbol, number, number - first)
            if kind is None or place in self._met:
                return None
            if kind != "skip" and update < self.faults.choice(number, self.updates + 1):
                return None
            self._met.add(place)
            self._socket_faults.append(SocketFault(self.clock.now_ms(), symbol, open_ms, kind))
            if kind == "refused":
                self.refused_dials[:] = [503, 503, 429]
        return kind
