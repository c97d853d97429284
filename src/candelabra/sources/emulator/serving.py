"""The emulator's server: requests to answers, dials to sessions, each written into the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiohttp import web

from candelabra.sources.emulator.log import Call
from candelabra.sources.emulator.sending import refused, sent
from candelabra.sources.emulator.session import Session
from candelabra.sources.emulator.state import State
from candelabra.sources.emulator.wire import Exchange, Handler

__all__ = ["serve"]

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(state: State, stop: asyncio.Event, report: Callable[[int], None]) -> None:
    """Serve until ``stop``; ``report`` is told the port."""
    app = web.Application()
    sessions: set[asyncio.Task[object]] = set()
    taken: set[str] = set()
    for exchange in state.exchanges:
        for path, handler in exchange.routes.items():
            if path not in taken:  # /api/v3/ping is Binance's and CoinGecko's
                taken.add(path)
                app.router.add_get(path, _answering(state, exchange, handler))
    app.router.add_get("/{path:.*}", _dialling(state, sessions))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    report(runner.addresses[0][1])
    await stop.wait()
    for session in sessions:
        session.cancel()
    await asyncio.gather(*sessions, return_exceptions=True)
    await runner.cleanup()


def _answering(state: State, exchange: Exchange, handler: Handler) -> Answering:
    async def answer(request: web.Request) -> web.StreamResponse:
        now = state.clock.now_ms()
        query = {**request.query, **request.match_info}
        call = Call(now, time.monotonic(), exchange.name, request.path, query)
        faults, limiter = state.faults, state.limiters[exchange.name]
        refusal = limiter.refusal(now)
        if refusal is not None:
            state.note(replace(call, status=refusal.status, early=refusal.early))
            return refused(exchange, refusal, state.own_clock.now_ms())
        if faults.everywhere or request.path.startswith(tuple(exchange.candle_paths)):
            call = replace(call, number=state.next_number())
        kind = faults.of_call(call.number) if call.number >= 0 else None
        try:
            made = handler(state.world(exchange), query)
        except (KeyError, ValueError) as error:
            state.note(replace(call, status=400))
            return web.json_response({"code": -1100, "msg": f"Illegal parameters: {error!r}"}, status=400)
        if kind in ("429", "418"):
            limiter.shut(now, faults.retry_after_s)
        place = state.note(replace(call, status=0, fault=kind))  # at once, since hanging may take long
        response, status, met = await sent(request, exchange, made, kind, faults, call.number, state.own_clock.now_ms())
        state.amend(place, replace(call, status=status, fault=met))
        return response

    return answer


def _dialling(state: State, sessions: set[asyncio.Task[object]]) -> Answering:
    async def dial(request: web.Request) -> web.StreamResponse:
        exchange = _meant(state.exchanges, request.path)
        call = Call(state.clock.now_ms(), time.monotonic(), exchange.name, request.path, dict(request.query))
        if "upgrade" not in request.headers.get("Connection", "").lower() or exchange.socket is None:
            state.note(replace(call, status=404))
            return web.json_response({"error": f"no such path: {request.path}"}, status=404)
        if state.refused_dials:
            status = state.refused_dials.pop(0)
            state.note(replace(call, status=status, fault="refused"))
            return web.Response(status=status, headers={"Retry-After": str(state.faults.retry_after_s)} if status == 429 else {})
        state.note(replace(call, status=101))
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        try:
            return await Session(state, exchange, exchange.socket).run(request)
        finally:
            sessions.discard(task)

    return dial


def _meant(exchanges: Sequence[Exchange], path: str) -> Exchange:
    """The exchange that a socket's path names (`point_at` keeps the host), or the first."""
    return next((e for e in exchanges if e.name in path), exchanges[0])
