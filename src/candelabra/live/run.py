"""One run of the live loop: everything opened, locked, run until it is told to stop, and closed again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from candelabra.errors import SourceError
from candelabra.live.feed import feed_timeframe
from candelabra.live.journal import Journal, writing_journal
from candelabra.live.loop import Fill, Live, LiveSettings
from candelabra.live.seat import Opened, open_bundle
from candelabra.live.succession import Schedule, succeed
from candelabra.sources.exchanges.clock import Clock, WallClock
from candelabra.sources.exchanges.contract import Connection, Source, Stream
from candelabra.sources.store import Store

__all__ = ["LivePlan", "run_live"]

Mode = Literal["socket", "schedule", "once"]


@dataclass(frozen=True)
class LivePlan:
    """What to follow, where from and where to.

    ``mode``: ``socket`` (where the exchange has one, else by the clock), ``schedule`` (by the clock), ``once`` (catch up and leave).
    ``journal``: a folder; where it has been used before, the bundle that was used last goes on. ``retrain``: see `succession.Schedule`.
    """

    bundle: Path
    exchange: str
    symbols: tuple[str, ...]
    store: Path
    journal: Path
    mode: Mode = "socket"
    since_ms: int | None = None
    paper: bool = True
    base_url: str | None = None
    clock: Clock = field(default_factory=WallClock)
    retrain: Schedule | None = None
    options: dict[str, object] = field(default_factory=dict)
    fill: Fill | None = None


def run_live(plan: LivePlan, begun: Callable[[Live], None], *, signals: bool = True) -> bool:
    """Run a plan; ``begun`` is called with the loop before it does anything. True when a signal ended it (``signals``: heed them).

    SourceError that names who holds it when another process writes the journal or collects the same candles.
    """
    from candelabra.sources.exchanges.fetching import fill, sole_collector
    from candelabra.sources.exchanges.pace import Patience
    from candelabra.sources.exchanges.registry import open_source, open_stream

    store = Store.create(plan.store)
    with contextlib.ExitStack() as held:
        journal = held.enter_context(writing_journal(plan.journal))
        opened = _bundle(plan, journal)
        for symbol in plan.symbols:
            held.enter_context(sole_collector(store, plan.exchange, symbol, feed_timeframe(opened.predictor)))
        connection = Connection(plan.exchange, plan.base_url, plan.clock, options=dict(plan.options))
        source = open_source(connection)
        stream = open_stream(connection, source) if plan.mode == "socket" else None
        settings = LiveSettings(plan.symbols, plan.since_ms, plan.paper)
        # little patience inside: the loop asks again by itself, and says meanwhile that it is recovering
        hurried = partial(fill, patience=Patience(attempts=2, first_s=0.3, most_s=2.0))
        live = Live(opened, source, store, journal, plan.clock, plan.fill or hurried, settings, stream)
        begun(live)
        return asyncio.run(_run(live, plan, source, stream, signals))


async def _run(live: Live, plan: LivePlan, source: Source, stream: Stream | None, signals: bool) -> bool:
    loop, stopped = asyncio.get_running_loop(), list[int]()
    # a receiving task of ccxt that dies tells nobody but the event loop: the watchdog notices, people need not read it
    loop.set_exception_handler(lambda _loop, _context: None)

    def stop(number: int) -> None:
        stopped.append(number)
        live.stop()

    numbers = (signal.SIGINT, signal.SIGTERM) if signals else ()
    for number in numbers:
        loop.add_signal_handler(number, partial(stop, number))
    succession = None
    try:
        if plan.mode == "once":
            once = asyncio.create_task(live.once())
            waiting = asyncio.create_task(live.stopped())
            await asyncio.wait({once, waiting}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not once.done():
                once.cancel()
                await asyncio.gather(once, return_exceptions=True)
            elif not once.cancelled():
                once.result()
        else:
            if plan.retrain is not None:
                succession = asyncio.create_task(succeed(live, plan.retrain))
            await live.run()
        live.figures()
    finally:
        for post in live.posts.values():
            post.total = live.journal.count(post.symbol)
        for number in numbers:
            loop.remove_signal_handler(number)
        if succession is not None:
            succession.cancel()
            await asyncio.gather(succession, return_exceptions=True)
        await source.close()
        if stream is not None:
            await stream.close()
    return bool(stopped)


def _bundle(plan: LivePlan, journal: Journal) -> Opened:
    """The bundle that the journal used last, else the plan's, which is noted."""
    last = journal.bundle()
    if last is not None and last[1].is_dir():
        return open_bundle(last[1])
    opened = open_bundle(plan.bundle)
    if last is not None and last[0] != opened.id:
        raise SourceError(
            f"the journal {plan.journal} went on with the bundle {last[0]} at {last[1]}, which is not there any more: put it back, "
            "or give another folder for a new journal"
        )
    journal.use_bundle(opened.id, opened.path, plan.clock.now_ms(), "given")
    return opened
