"""`Live`: the loop over the symbols of one exchange. Start, catching up after an interruption, and going on share one path.

The watch says that a bar has closed; `fill` brings what is missing into the store, from the exchange's answers alone; the store's candles
are followed in order, each base bar one transaction of the journal. What fails is tried again from where the journal stands, while the
other symbols go on. No real orders are made anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError, DataError, SourceError, UsageError
from candelabra.live.feed import closed_candles, feed_timeframe, history_start, newest_stretch
from candelabra.live.journal import Journal
from candelabra.live.judge import Rolling, block_bars, rolling, warnings
from candelabra.live.seat import Opened, Seat, Taken
from candelabra.live.states import Health, StateChange
from candelabra.live.watch import Watch, heed_cancellation
from candelabra.registry import did_you_mean
from candelabra.sources.exchanges.clock import Clock
from candelabra.sources.exchanges.contract import Source, Stream
from candelabra.sources.store import Store

__all__ = ["Event", "Fill", "Live", "LiveSettings", "Post"]

_TRIES: Final = 8
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 30.0
_PATIENT: Final = 3
"""How many answers without the bar that has closed are not yet a failure: exchanges take a moment to show it."""


class Fill(Protocol):
    """Bring candles that open in ``[start_ms, end_ms)`` into a store, as `sources.exchanges.fetching.fill` does."""

    def __call__(self, source: Source, store: Store, symbol: str, timeframe_: Timeframe, start_ms: int, end_ms: int) -> Awaitable[object]:
        """Raises SourceError; ``retryable`` where asking again can help."""
        ...


@dataclass(frozen=True)
class LiveSettings:
    """``symbols`` to follow; ``since_ms``: begin there instead of with the newest bar, where the journal is new; ``paper``: trade on paper.

    ``judge_every``: after how many base bars rolling figures are made.
    """

    symbols: tuple[str, ...]
    since_ms: int | None = None
    paper: bool = True
    judge_every: int = 24


@dataclass(frozen=True)
class Event:
    """Something that happened at ``at_ms`` (exchange time as far as it is known): ``kind`` is one of state, prediction, judged, paper,
    regime, figures, warning, note, bundle; ``subject`` a symbol or the exchange.
    """

    kind: str
    subject: str
    at_ms: int
    body: dict[str, Any]


@dataclass(eq=False)
class Post:
    """One symbol's part of the loop; ``seat`` None: to be made anew from the journal; ``total``: bars in it when the loop ended."""

    symbol: str
    health: Health
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    until_ms: int = 0
    seat: Seat | None = None
    newest: Taken | None = None
    figures: dict[str, Rolling] = field(default_factory=dict)
    since_figures: int = 0
    total: int = 0


class Live:
    """One exchange, one bundle at a time, several symbols."""

    def __init__(
        self,
        opened: Opened,
        source: Source,
        store: Store,
        journal: Journal,
        clock: Clock,
        fill: Fill,
        settings: LiveSettings,
        stream: Stream | None = None,
    ) -> None:
        """``stream`` None: by the candle clock alone. UsageError for a bundle that one timeframe cannot feed."""
        self.opened, self.source, self.store, self.journal, self.clock = opened, source, store, journal, clock
        self.settings, self._fill, self._stream = settings, fill, stream
        self.frame = feed_timeframe(opened.predictor)
        self.base = opened.predictor.recipe.base
        self.exchange = Health(source.name)
        self.posts = {symbol: Post(symbol, Health(symbol)) for symbol in settings.symbols}
        self._listeners: list[Callable[[Event], object]] = []
        for health in (self.exchange, *(post.health for post in self.posts.values())):
            health.on_change(self._changed)
        self.watch = Watch(source, stream, settings.symbols, self.frame, clock, self)
        self._warned: dict[str, str] = {}
        self._drifted: dict[str, set[str]] = {}
        self._outside: set[str] = set()
        self._stop = asyncio.Event()
        self._last_error: CandelabraError | None = None

    def subscribe(self, callback: Callable[[Event], object]) -> None:
        """Call ``callback`` with every event from now on."""
        self._listeners.append(callback)

    def stop(self) -> None:
        """End `run` after what is in hand."""
        self._stop.set()

    async def stopped(self) -> None:
        """Wait for `stop`."""
        await self._stop.wait()

    # how it runs

    async def once(self) -> None:
        """Catch up with what has closed by now, and end. Raises what stopped a symbol, when the others are done."""
        await self._known()
        now = await self._again(self.source.now_ms)
        self.watch.look_at_clock()
        failed: list[CandelabraError] = []
        for post in self.posts.values():
            post.until_ms = int(self.frame.floor(now))
            try:
                await self._again(partial(self._catch_up, post))
                post.health.send("ready", "caught up", self._now())
                self.exchange.send("ready", "it answers", self._now())
            except CandelabraError as error:
                post.health.send("halt", str(error), self._now())
                failed.append(error)
        if failed:
            raise failed[0]

    async def run(self) -> None:
        """Until `stop`, or until no symbol can go on: then what stopped the last is raised."""
        await self._known()
        workers = [asyncio.create_task(self._serve(post)) for post in self.posts.values()]
        watching = asyncio.create_task(self.watch.run())
        stopping = asyncio.create_task(self._stop.wait())
        tasks = [*workers, watching, stopping]
        for post in self.posts.values():  # before any session speaks: what closed while nobody listened
            self.closed(post.symbol, int(self.frame.floor(await self._again(self.source.now_ms))))
        try:
            running = set(workers)
            while running and not stopping.done() and not watching.done():
                await asyncio.wait({*running, stopping, watching}, return_when=asyncio.FIRST_COMPLETED)
                running = {task for task in running if not task.done()}
            if watching.done():
                watching.result()
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*workers, return_exceptions=True)
            await asyncio.gather(watching, stopping, return_exceptions=True)
        broken = [e for e in ended if isinstance(e, Exception)]
        if broken:
            raise broken[0]
        if (not stopping.done() and self._last_error is not None) or all(p.health.state == "halted" for p in self.posts.values()):
            self.exchange.send("halt", "no symbol can go on", self._now())
            raise self._last_error or SourceError("no symbol can go on")

    def use(self, opened: Opened, why: str) -> None:
        """From the next base bar on, another bundle; UsageError when it is fed by other candles."""
        if feed_timeframe(opened.predictor) != self.frame or opened.predictor.recipe.base != self.base:
            raise UsageError(f"the bundle {opened.id} reads other timeframes than {self.opened.id}: begin a new journal for it")
        self.journal.use_bundle(opened.id, opened.path, self._now(), why)
        self.opened = opened
        for post in self.posts.values():
            post.seat = None
        self.tell("bundle", self.source.name, {"bundle": opened.id, "why": why})

    # what the watch says

    def closed(self, symbol: str, until_ms: int) -> None:
        """Every bar before ``until_ms`` has closed."""
        post = self.posts[symbol]
        if until_ms > post.until_ms:
            post.until_ms = until_ms
            post.wake.set()

    def silent(self, symbol: str, age_s: float) -> None:
        """Nothing new came in time: the exchange is asked."""
        post = self.posts[symbol]
        post.health.send("silent", f"no new bar was heard of for {age_s:.0f} s", self._now())
        post.wake.set()

    def speaks(self) -> None:
        """A session speaks."""
        self.exchange.send("ready", "its socket speaks", self._now())

    def lost(self, why: str) -> None:
        """A session ended."""
        event = "silent" if why.startswith("nothing new") else "lost"
        self.exchange.send(event, why, self._now())

    def skewed(self, skew_ms: int) -> None:
        """Its time is another than this machine's."""
        ahead = "behind" if skew_ms > 0 else "ahead of"
        text = (
            f"this machine's clock is {abs(skew_ms) / 1000:.0f} s {ahead} the exchange's: candles go by the exchange's time; set the clock"
        )
        self._warn("clock", self.source.name, text)

    # one symbol

    async def _serve(self, post: Post) -> None:
        failures = 0
        while True:
            heed_cancellation()
            await post.wake.wait()
            post.wake.clear()
            try:
                if post.health.state == "stale":
                    post.health.send("lost", "the exchange is asked", self._now())
                    post.until_ms = max(post.until_ms, int(self.frame.floor(await self.source.now_ms())))
                await self._catch_up(post)
                failures = 0
                post.health.send("ready", "caught up", self._now())
                if self._stream is None:
                    self.exchange.send("ready", "it answers", self._now())
            except CandelabraError as error:
                if not getattr(error, "retryable", False):
                    self._halt(post, error)
                    return
                failures += 1
                if failures > _PATIENT or not isinstance(error, _NotYet):
                    post.health.send("lost", str(error), self._now())
                await asyncio.sleep(_wait_s(failures))
                post.wake.set()

    def _halt(self, post: Post, error: CandelabraError) -> None:
        self._last_error = error
        post.health.send("halt", str(error), self._now())
        self.watch.leave(post.symbol)

    async def _catch_up(self, post: Post) -> None:
        """Everything that has closed by ``until_ms``, in order."""
        until, symbol = post.until_ms, post.symbol
        if post.seat is None:
            post.seat = await self._seated(post)
        seat = post.seat
        start = seat.follower.as_of_ms
        if until <= start:
            return
        await self._fill(self.source, self.store, symbol, self.frame, start, until)
        candles = closed_candles(self.store, self.source.name, symbol, self.frame, start, until)
        try:
            for step in seat.follower.advance(candles):
                self._taken(post, seat.take(step, self._now()))
                await asyncio.sleep(0)
                if post.seat is not seat:  # another bundle goes on from here
                    return await self._catch_up(post)
        except BaseException:
            post.seat = None  # what it holds may be ahead of the journal
            raise
        if (reached := candles.span[1]) < until:
            later = newest_stretch(self.store, self.source.name, symbol, self.frame, reached, until)
            if later is not None and later.span[0] > reached:
                return await self._skip(post, until)
            raise _NotYet(f"{symbol}: the bar after {format_time(reached)} is not shown yet", retryable=True)

    async def _seated(self, post: Post) -> Seat:
        """A seat from where the journal stands; in a new journal, one base bar before the newest, or at ``since_ms``."""
        newest = int(self.base.floor(post.until_ms))
        position = self.journal.position(post.symbol)
        if position is None:
            wanted = newest - 1 if self.settings.since_ms is None else min(self.settings.since_ms, newest - 1)
            position = int(self.base.floor(wanted))
        last: DataError | None = None
        for spare in (1.05, 1.6):
            history = await self._history(post.symbol, history_start(self.opened.predictor, position, self.opened.keep, spare), position)
            try:
                seat = Seat(self.journal, self.opened, history, self._now(), paper=self.settings.paper)
            except DataError as error:
                last = error
                continue
            segmenter = self.opened.predictor.segmenter
            if segmenter is not None and not seat.follower.follows_regimes:
                text = f"{post.symbol}: regimes need {segmenter.needs:,} {segmenter.base} bars, and fewer can be had: none are told yet"
                self.tell("note", post.symbol, {"text": text})
            return seat
        raise last or DataError(f"{post.symbol}: no history")

    async def _history(self, symbol: str, start: int, end: int) -> Candles:
        await self._fill(self.source, self.store, symbol, self.frame, start, end)
        found = newest_stretch(self.store, self.source.name, symbol, self.frame, start, end)
        if found is None or found.span[1] < end:
            raise _NotYet(f"{symbol}: the candles before {format_time(end)} are not there yet", retryable=True)
        return found

    async def _skip(self, post: Post, until: int) -> None:
        """The exchange no longer gives what comes next: say so, and begin again with the newest."""
        assert post.seat is not None
        before, after = post.seat.follower.as_of_ms, int(self.base.floor(int(self.base.floor(until)) - 1))
        text = f"{post.symbol}: {format_time(before)} to {format_time(after)} UTC can no longer be had from {self.source.name}: left out"
        self.journal.skip(post.symbol, after)
        post.seat = None
        self._warn(f"skip {before}", post.symbol, text)
        await self._catch_up(post)

    def _taken(self, post: Post, taken: Taken) -> None:
        post.newest = taken
        step, at = taken.step, taken.step.as_of_ms
        if step.prediction is not None:
            self.tell("prediction", post.symbol, step.prediction.to_dict(), at, keep=False)
        for bar in step.regimes:
            body = {"timeframe": bar.timeframe, "close_ms": bar.close_ms, "label": bar.label, "age": bar.age, "confirmed": bar.confirmed}
            self.tell("regime", post.symbol, body, at, keep=False)
        for as_of, horizon, body in taken.judged:
            self.tell("judged", post.symbol, {"as_of_ms": as_of, "horizon": horizon, **body}, at, keep=False)
        if taken.paper is not None:
            told = {"target": taken.paper.target, "units": taken.paper.units, "equity": taken.paper.equity, "trades": taken.paper.trades}
            self.tell("paper", post.symbol, told, at, keep=False)
        post.since_figures += 1
        if post.since_figures >= self.settings.judge_every:
            post.since_figures = 0
            self.figures()

    def figures(self) -> dict[str, Rolling]:
        """Rolling figures of all symbols together, by horizon; what has left its promise is warned of, once."""
        seats = [post.seat for post in self.posts.values() if post.seat is not None]
        recipe, found = self.opened.predictor.recipe, {}
        block, said = block_bars(recipe.base), dict[str, str]()
        for horizon, steps in zip(recipe.horizons, recipe.steps, strict=True):
            found[horizon.name] = rolling([s.judge.newest[horizon.name] for s in seats], horizon.name, steps, block)
            said |= {text.partition(" is ")[0].partition(" hold ")[0]: text for text in warnings(found[horizon.name], self.opened.promise)}
        for key, text in said.items():
            if key not in self._outside:  # what stays outside is not said again
                self.tell("warning", self.source.name, {"text": text})
        self._outside = set(said)
        for seat in seats:
            self._watch_drift(seat)
        for post in self.posts.values():
            post.figures = found
        return found

    def _watch_drift(self, seat: Seat) -> None:
        """A warning when an input has drifted that had not before."""
        if seat.drift is None:
            return
        far = seat.drift.drifted()
        known = self._drifted.setdefault(seat.symbol, set())
        if set(far) - known:
            worst = ", ".join(f"{name} (PSI {value:.2f})" for name, value in list(far.items())[:3])
            text = f"{seat.symbol}: {len(far)} of {len(seat.drift.names)} inputs lie far from their train range: {worst}"
            self._warn(f"{seat.symbol} drift", seat.symbol, text)
        self._drifted[seat.symbol] = set(far)

    # small things

    async def _known(self) -> None:
        """UsageError for a symbol that the exchange does not have."""
        there = set(await self._again(self.source.symbols))
        for symbol in self.settings.symbols:
            if symbol not in there:
                raise UsageError(f"{self.source.name} has no symbol {symbol}: {did_you_mean(symbol, sorted(there))}")

    async def _again(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """An answer, asked for a few times."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await ask()
            except SourceError as error:
                if not error.retryable or attempt == _TRIES:
                    raise
                await asyncio.sleep(_wait_s(attempt))
        raise AssertionError

    def _now(self) -> int:
        return self.clock.now_ms() + self.source.skew_ms

    def _changed(self, change: StateChange) -> None:
        body = {"before": change.before, "after": change.after, "why": change.why}
        self.tell("state", change.subject, body, change.at_ms)

    def _warn(self, key: str, subject: str, text: str) -> None:
        """A warning, said again only when it says something else."""
        if self._warned.get(key) != text:
            self._warned[key] = text
            self.tell("warning", subject, {"text": text})

    def tell(self, kind: str, subject: str, body: dict[str, Any], at_ms: int | None = None, *, keep: bool = True) -> None:
        """To the journal (what is not in its tables anyway), then to whoever listens."""
        at = self._now() if at_ms is None else at_ms
        if keep:
            self.journal.add_event(at, kind, subject, body)
        for callback in tuple(self._listeners):
            callback(Event(kind, subject, at, body))


class _NotYet(SourceError):
    """What has closed is not shown yet."""


def _wait_s(failures: int) -> float:
    """Seconds of the world before asking again."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(failures - 1, 12))
