"""Candles of any exchange over REST, by ccxt: one request a page, each answer checked, the pace shared by all symbols."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import MissingExtraError, SourceError, UsageError
from candelabra.registry import did_you_mean
from candelabra.sources.exchanges.answers import Heard, listen
from candelabra.sources.exchanges.contract import Connection, Page
from candelabra.sources.exchanges.faults import meaning
from candelabra.sources.exchanges.funding import Funding
from candelabra.sources.exchanges.funding_rows import rates_of
from candelabra.sources.exchanges.listing import VOTES, first_by_pages
from candelabra.sources.exchanges.pace import Pace, Patience, persist
from candelabra.sources.exchanges.pages import Asked, BadPage, checked
from candelabra.sources.exchanges.rules import KNOWN, oldest_ms, rules_of
from candelabra.sources.exchanges.skew import ExchangeTime

__all__ = ["RestSource", "load_ccxt"]

_Result = TypeVar("_Result")


def load_ccxt() -> Any:
    """``ccxt.async_support``; MissingExtraError when it is not installed."""
    try:
        import ccxt.async_support as ccxt
    except ImportError as error:
        raise MissingExtraError("ccxt", "exchanges", "fetching from exchanges") from error
    return ccxt


class RestSource:
    """The `Source` of an exchange that ccxt knows. Every question is one or few requests; what is retried and how often is ``patience``'s
    matter, except for what comes before the first page (markets, the exchange's time, the first candle), which is asked until it is there.
    """

    def __init__(self, connection: Connection, patience: Patience | None = None) -> None:
        ccxt = load_ccxt()
        self.name = connection.exchange
        options = dict(connection.options)
        rate = options.pop("calls_per_second", None)
        direct = connection.base_url is None
        self._ccxt = getattr(ccxt, self.name)(
            {"enableRateLimit": True, "timeout": int(1000 * connection.timeout_s), "aiohttp_trust_env": direct, **options}
        )
        self.rules = rules_of(self.name, self._ccxt)
        spacing = 1.0 / (rate or self.rules.calls_per_second)
        self.pace = Pace(self.name, spacing)
        self.patience = patience or Patience()
        self._unit_s = 0.0 if rate else float(self._ccxt.rateLimit) / 1000
        self._simulated = not direct
        self._time = ExchangeTime(connection.clock)
        self._deadline_s = 1.5 * connection.timeout_s + 1.0
        self._heard = listen(self._ccxt)
        self._plain_fetch = self._ccxt.fetch
        self._ccxt.fetch, self._ccxt.throttle, self._ccxt.milliseconds = self._fetch, self._turn, self._time.now_ms
        if connection.base_url is not None:
            from candelabra.sources.emulator import point_at

            point_at(self._ccxt, connection.base_url)
            self._ccxt.timeout_on_exit = 0
        self._opening = asyncio.Lock()

    @property
    def label(self) -> str:
        """What a store is told of where candles came from."""
        return f"{self.name} REST {'klines' if self.name in ('binance', 'bybit') else 'candles'}{' (emulator)' if self._simulated else ''}"

    @property
    def skew_ms(self) -> int:
        """How far the exchange's time is ahead of the clock's; 0 before it was heard of."""
        return self._time.skew_ms

    async def now_ms(self) -> int:
        """The exchange's time; asked for at first, every ten minutes, and when an answer's date does not fit."""
        return await self._time.current(self._ask_time, self.patience)

    async def symbols(self) -> Sequence[str]:
        """What is traded, sorted."""
        await self._open()
        return sorted(self._ccxt.markets)

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """See `Source.page`; BadPage for an answer that cannot be believed."""
        await self._known(symbol, timeframe)
        now = await self.now_ms()
        self._reachable(symbol, timeframe, start_ms, now)
        end = min(end_ms, int(timeframe.after(start_ms, self.rules.page)))
        asked = self._asked_for(symbol, timeframe, start_ms, end, now)
        if asked.end_closed_ms <= start_ms:
            return _nothing(asked)
        count = int(timeframe.index(asked.end_closed_ms) - timeframe.index(start_ms))
        until = {} if self.rules.newest else {"until": asked.end_closed_ms - 1}
        rows = await self._rows(asked, count, until)
        if self.name not in KNOWN:
            _about_what_was_asked(rows, asked)
        return checked(rows, asked)

    async def first_ms(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        """See `Source.first_ms`; several separate answers must agree, for one that lost its first rows looks like a later listing."""
        await self._known(symbol, timeframe)
        after = int(timeframe.ceil(after_ms))
        after = max(after, oldest_ms(self.rules, timeframe, await self.now_ms()) or after)
        if not self.rules.jumps or self._ccxt.market(symbol).get("inverse"):
            frames = [Timeframe(name) for name in self._ccxt.timeframes or {} if name in ("1d", "1w", "1M")]
            return await first_by_pages(self, symbol, timeframe, after, frames, self.patience)
        found = [await persist(lambda: self._first_row(symbol, timeframe, after), self.patience) for _ in range(VOTES)]
        return min((one for one in found if one is not None), default=None)

    @property
    def funding_page(self) -> int:
        """Funding rates a request at most."""
        return {"binance": 1000, "bybit": 200}.get(self.name, 100)

    async def funding(self, symbol: str, start_ms: int, end_ms: int) -> Funding:
        """See `FundingSource.funding`."""
        await self._listed(symbol)
        if not self.rules.funding:
            raise UsageError(f"{self.name} has no history of funding rates: leave --funding out")
        what = f"{self.name}: funding rates of {symbol} from {format_time(start_ms)}"
        until = {"after": end_ms} if self.name == "okx" else {"until": end_ms - 1}

        async def ask() -> list[Any]:
            return list(await self._ccxt.fetch_funding_rate_history(symbol, start_ms, self.funding_page, until))

        rows, heard = await self._ask(what, ask)
        return rates_of(rows, heard.json, start_ms, end_ms, self._simulated, what)

    async def close(self) -> None:
        """Let go of connections."""
        await self._ccxt.close()

    async def _first_row(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        now = await self.now_ms()
        asked = self._asked_for(symbol, timeframe, after_ms, max(after_ms, int(timeframe.floor(now))), now)
        if asked.end_closed_ms <= after_ms:
            return None
        page = checked(await self._rows(asked, 1, {}), asked)
        return int(page.candles.open_time[0]) if len(page.candles) else None

    async def _rows(self, asked: Asked, count: int, params: dict[str, Any]) -> list[Any]:
        """The rows of an answer as ccxt reads each, none dropped, in the order they came."""

        async def ask() -> None:
            await self._ccxt.fetch_ohlcv(asked.symbol, asked.timeframe.name, asked.start_ms, count, params)

        _, heard = await self._ask(str(asked), ask)
        if not heard.rows_came and not (self.rules.loose and isinstance(heard.rows, list) and heard.rows):
            kind = type(heard.json).__name__ if heard.json is not None else "no JSON"
            raise BadPage(f"{asked}: the answer has no list of candles where one belongs ({kind}): ask again")
        try:
            return [self._ccxt.parse_ohlcv(row, heard.market) for row in heard.rows]
        except Exception as error:
            raise BadPage(f"{asked}: the answer has a row that cannot be read ({error!r}): ask again") from error

    async def _ask(self, what: str, call: Callable[[], Awaitable[_Result]]) -> tuple[_Result, Heard]:
        heard = Heard()
        token = self._heard.set(heard)
        try:
            result = await call()
        except (SourceError, UsageError):
            raise
        except Exception as error:  # ccxt lets errors of any class through
            told = meaning(error, heard, self.pace, what)
            if isinstance(told, SourceError) and told.retryable:
                self.pace.stumbled(told)
            raise told from error
        finally:
            self._heard.reset(token)
        self.pace.answered()
        self._time.dated(heard.date_ms)
        return result, heard

    async def _ask_time(self) -> None:
        what = f"{self.name}: its time"
        if self._ccxt.has.get("fetchTime"):
            server, heard = await self._ask(what, self._ccxt.fetch_time)
        else:
            _, heard = await self._ask(what, lambda: self._ccxt.load_markets(True))
            server = heard.date_ms
        if not isinstance(server, int | float) or not 1.2e12 < server < 1e13:
            raise SourceError(f"{what} is not to be had ({server!r} was the answer)", retryable=True)
        self._time.heard(int(server), heard.date_ms)

    async def _open(self, again: bool = False) -> None:
        async with self._opening:
            if self._ccxt.markets and not again:
                return

            async def load() -> None:
                await self._ask(f"{self.name}: its markets", lambda: self._ccxt.load_markets(True))
                if not self._ccxt.markets:
                    raise SourceError(f"{self.name} gave a list without markets", retryable=True)

            await persist(load, self.patience)

    async def _known(self, symbol: str, timeframe: Timeframe) -> None:
        await self._listed(symbol)
        offered = self._ccxt.timeframes or {}
        if timeframe.name not in offered:
            raise UsageError(
                f"{self.name} has no candles of {timeframe}: fetch one of {', '.join(offered)}; "
                "the store makes coarser ones when they are read"
            )

    async def _listed(self, symbol: str) -> None:
        await self._open()
        if symbol not in self._ccxt.markets:
            await self._open(again=True)  # a list that lacked a part looks like a list
        if symbol not in self._ccxt.markets:
            raise UsageError(f"{self.name} has no {symbol}: {_nearest(symbol, sorted(self._ccxt.markets))}")

    def _reachable(self, symbol: str, timeframe: Timeframe, start_ms: int, now_ms: int) -> None:
        oldest = oldest_ms(self.rules, timeframe, now_ms, spare=0)
        if oldest is not None and start_ms < oldest:
            raise SourceError(f"{symbol} {timeframe} before {format_time(oldest)} cannot be had from {self.name}: {self.rules.advice}")

    def _asked_for(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int, now_ms: int) -> Asked:
        rules = self.rules
        return Asked(self.name, symbol, timeframe, start_ms, end_ms, now_ms, rules.loose, rules.volume, self._simulated)

    async def _turn(self, cost: float | None = None) -> None:
        weight = max(1.0, (1.0 if cost is None else float(cost)) * self._unit_s / self.pace.spacing_s)
        await self.pace.turn(weight)

    async def _fetch(self, *arguments: Any, **named: Any) -> Any:
        async with asyncio.timeout(self._deadline_s):  # ccxt has a time-out of its own, which a line that drips can outlive
            return await self._plain_fetch(*arguments, **named)


def _about_what_was_asked(rows: list[Any], asked: Asked) -> None:
    """SourceError for the newest candles in the place of older ones: that is no word about the older ones."""
    times = [row[0] for row in rows if isinstance(row[0], int)]
    newest = int(asked.timeframe.after(int(asked.timeframe.floor(asked.closed_ms)), -2))
    if times and min(times) >= asked.end_ms and max(times) >= newest:
        since = format_time(min(times))
        raise SourceError(
            f"{asked}: {asked.exchange} answered with its newest candles, from {since} on: it may have no older ones; fetch from {since} on"
        )


def _nothing(asked: Asked) -> Page:
    empty = [np.zeros(0) for _ in range(5)]
    span = (asked.start_ms, asked.start_ms)
    none = Candles.sealed(
        asked.symbol, asked.timeframe, np.zeros(0, np.int64), empty, np.zeros(0, np.int32), asked.timeframe, span, asked.simulated
    )
    return Page(none, span, asked.closed_ms)


def _nearest(symbol: str, known: Sequence[str]) -> str:
    """The nearest name; among thousands nobody wants a list."""
    said = did_you_mean(symbol, list(known))
    if said.startswith("did"):
        return said
    base = symbol.partition("/")[0]
    own = [one for one in known if one.startswith(f"{base}/")]
    return f"with {base} there are {', '.join(own[:8])}" if own else "write it as in BTC/USDT, a perpetual as in BTC/USDT:USDT"
