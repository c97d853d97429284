"""One socket of an emulated exchange: what the client takes, what it is told of it and when, and how that goes wrong."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import Bars
from candelabra.sources.emulator.sending import aborted
from candelabra.sources.emulator.state import State
from candelabra.sources.emulator.wire import Exchange, SocketGrammar, Subscription

__all__ = ["Session"]

_VALUES: Final = frozenset({"o", "h", "l", "c", "v", "open", "high", "low", "close", "volume"})
_FAR_BEHIND: Final = 100
"""Bars after which a session that is late (the clock jumped) goes on with the newest instead of telling all."""


class Session:
    """A connection from its dial to its end."""

    def __init__(self, state: State, exchange: Exchange, grammar: SocketGrammar) -> None:
        self._state, self._exchange, self._grammar = state, exchange, grammar
        self._clock, self._updates = state.own_clock, state.updates
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._frozen = self._silent = False
        self._silent_until_ms = 0

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one client until either side ends it."""
        self._socket = web.WebSocketResponse(autoping=False, compress=False)
        self._request = request
        await self._socket.prepare(request)
        try:
            for frame in self._grammar.greeting:
                await self._send(frame)
            async for message in self._socket:
                if self._frozen:
                    continue
                if message.type == WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    await self._hear(request.path, message.data)
        except ConnectionError:
            pass  # the client has gone
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        return self._socket

    async def _hear(self, path: str, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            message = text
        heard = self._grammar.hear(self._state.world(self._exchange), path, message)
        for reply in heard.replies:
            await self._send(reply)
        for channel in heard.left:
            if channel in self._tasks:
                self._tasks.pop(channel).cancel()
        for subscription in heard.taken:
            if subscription.channel not in self._tasks:
                self._tasks[subscription.channel] = asyncio.create_task(self._follow(subscription))

    async def _follow(self, subscription: Subscription) -> None:
        frame = subscription.timeframe
        open_ms, update = self._now_forming(frame)
        try:
            while not self._socket.closed:
                close_ms = int(frame.next(open_ms))
                step = (close_ms - open_ms) / self._updates
                closes = update >= self._updates
                at_ms = close_ms if closes else open_ms + round(update * step)
                if not await self._clock.until(at_ms):
                    open_ms, update = self._now_forming(frame)
                    continue
                late = self._clock.now_ms() - at_ms
                if closes or late < step:  # else the next update is due already
                    await self._announce(subscription, open_ms, at_ms, update)
                open_ms, update = (close_ms, 0) if closes else (open_ms, update + 1)
                if late > _FAR_BEHIND * frame.milliseconds:
                    open_ms, update = self._now_forming(frame)
        except ConnectionError:
            return

    def _now_forming(self, frame: Timeframe) -> tuple[int, int]:
        """Open time of the bar that is forming, and the number of its next update."""
        now = self._clock.now_ms()
        open_ms = int(frame.floor(now))
        return open_ms, 1 + (now - open_ms) * self._updates // (int(frame.next(open_ms)) - open_ms)

    def _bar(self, subscription: Subscription, open_ms: int, now_ms: int) -> Bars:
        return subscription.market.bars(subscription.timeframe, open_ms, open_ms + 1, now_ms, quiet=self._exchange.quiet_bars)

    async def _announce(self, subscription: Subscription, open_ms: int, at_ms: int, update: int) -> None:
        if self._frozen or self._silent or at_ms < self._silent_until_ms:
            return
        bar = self._bar(subscription, open_ms, at_ms)
        closed = update >= self._updates
        frame = self._grammar.tell(subscription, bar, closed, at_ms) if len(bar.open_time) else None
        kind = self._state.socket_fault(subscription, open_ms, update)
        if kind is not None and not await self._spoil(kind, subscription, open_ms, at_ms, frame):
            return
        if frame is not None:
            await self._send(frame)

    async def _spoil(self, kind: str, subscription: Subscription, open_ms: int, now_ms: int, frame: Any) -> bool:
        """Do a fault; False when the frame that was due is not to be sent after it."""
        if kind in ("abort", "refused"):
            aborted(self._request)
            raise ConnectionResetError
        if kind == "close-1001":
            await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"going away", drain=False)
            raise ConnectionResetError
        if kind in ("frozen", "silent"):
            self._frozen, self._silent = kind == "frozen", True
        elif kind == "skip":
            self._silent_until_ms = int(subscription.timeframe.after(open_ms, 2)) + 1
        elif kind == "truncated":
            text = json.dumps(frame if frame is not None else self._grammar.error)
            await self._socket.send_str(text[: len(text) // 2])
        elif kind == "missing-fields":
            await self._send(_without_values(frame))
        else:
            await self._send(self._extra(kind, subscription, open_ms, now_ms))
            return True
        return False

    def _extra(self, kind: str, subscription: Subscription, open_ms: int, now_ms: int) -> Any:
        """A frame that comes beside the right one."""
        if kind == "text":
            return "welcome back"
        if kind == "error-frame":
            return self._grammar.error
        if kind == "unknown-event":
            return {"e": "serverShutdown", "E": now_ms, "event": "serverShutdown", "channel": "serverShutdown"}
        bars_ago = 10 if kind == "late-older" else 1
        older = self._bar(subscription, int(subscription.timeframe.after(open_ms, -bars_ago)), now_ms)
        if not len(older.open_time):
            return "welcome back"
        if kind == "older-revised":
            other = older.low if older.low[0] != older.close[0] else older.high + 1
            older = older._replace(close=other, high=older.high.clip(min=other))
        return self._grammar.tell(subscription, older, True, now_ms)

    async def _send(self, frame: Any) -> None:
        if not self._socket.closed:
            await self._socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))


def _without_values(frame: Any) -> Any:
    if isinstance(frame, dict):
        return {name: _without_values(value) for name, value in frame.items() if name not in _VALUES}
    if isinstance(frame, list):
        return [_without_values(value) for value in frame[:2]]
    return frame
