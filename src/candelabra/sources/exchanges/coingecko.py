"""CoinGecko: candles of an average over exchanges, without volume, of the last day (30m) and month (4h) only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError, UsageError
from candelabra.registry import did_you_mean
from candelabra.sources.exchanges.contract import Connection, Page, Rules
from candelabra.sources.exchanges.keys import key_for
from candelabra.sources.exchanges.pace import Patience, persist
from candelabra.sources.exchanges.pages import Asked, BadPage, checked
from candelabra.sources.exchanges.rules import oldest_ms
from candelabra.sources.exchanges.web import WebSource

__all__ = ["CoinGecko"]

_DAY_MS: Final = 86_400_000
_DAYS: Final = {"30m": (1,), "4h": (7, 14, 30)}
"""Stretches one may ask for, by the timeframe that CoinGecko then chooses."""
_RULES: Final = Rules(
    page=180,
    newest=180,
    newest_of={"30m": 48},
    absent="unknown",
    socket=False,
    volume=False,
    calls_per_second=0.15,
    loose=True,
    advice="CoinGecko gives candles of the last day (30m) and of the last 30 days (4h); older ones come from an exchange or an archive",
)
_IDS: Final = {
    "BTC": "bitcoin", "ETH": "ethereum", "SOL": "solana", "XRP": "ripple", "BNB": "binancecoin", "DOGE": "dogecoin", "ADA": "cardano",
    "LTC": "litecoin", "TRX": "tron", "AVAX": "avalanche-2", "DOT": "polkadot", "LINK": "chainlink", "BCH": "bitcoin-cash",
    "XLM": "stellar", "ATOM": "cosmos", "ETC": "ethereum-classic", "USDT": "tether", "USDC": "usd-coin",
}  # fmt: skip
"""Of names that many coins bear, the one that everybody means."""


class CoinGecko(WebSource):
    """`Source` of CoinGecko's ``/coins/{id}/ohlc``. There is no volume: stored bars have 0 there, and their source says so."""

    def __init__(self, connection: Connection, patience: Patience | None = None) -> None:
        key = key_for("coingecko")
        headers = {} if key is None else {"x-cg-demo-api-key": key}
        super().__init__(connection, "https://api.coingecko.com", _RULES, headers, patience)
        self._ids: dict[str, list[str]] = {}
        self._money: list[str] = []

    async def symbols(self) -> Sequence[str]:
        """Every coin against US dollars; other currencies can be asked for."""
        await self._open()
        return sorted(f"{base}/USD" for base in self._ids)

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """See `Source.page`."""
        coin, money = await self._coin(symbol)
        if timeframe.name not in _DAYS:
            raise UsageError(f"coingecko has no candles of {timeframe}: 30m of the last day and 4h of the last 30 days are all there is")
        now = await self.now_ms()
        asked = Asked(self.name, symbol, timeframe, start_ms, end_ms, now, loose=True, volume=False, simulated=self._simulated)
        oldest = oldest_ms(self.rules, timeframe, now, spare=0)
        if oldest is not None and start_ms < oldest:
            raise SourceError(f"{asked} cannot be had: {self.rules.advice}")
        days = next((d for d in _DAYS[timeframe.name] if now - d * _DAY_MS <= start_ms), _DAYS[timeframe.name][-1])
        rows = await self.ask(str(asked), f"/api/v3/coins/{coin}/ohlc", {"vs_currency": money, "days": days})
        if not isinstance(rows, list):
            raise BadPage(f"{asked}: the answer has no list of candles where one belongs ({type(rows).__name__}): ask again")
        return checked([_row(row, timeframe, asked) for row in rows], asked)

    async def first_ms(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        """See `Source.first_ms`."""
        now = await self.now_ms()
        start = max(int(timeframe.ceil(after_ms)), oldest_ms(self.rules, timeframe, now) or 0)
        if start >= int(timeframe.floor(now)):
            return None
        page = await persist(lambda: self.page(symbol, timeframe, start, now), self.patience)
        return int(page.candles.open_time[0]) if len(page.candles) else None

    def date_path(self) -> tuple[str, dict[str, Any]]:
        """Its ping."""
        return "/api/v3/ping", {}

    async def _open(self) -> None:
        if self._ids:
            return
        listed = await persist(lambda: self.ask("coingecko: its coins", "/api/v3/coins/list"), self.patience)
        money = await persist(lambda: self.ask("coingecko: its currencies", "/api/v3/simple/supported_vs_currencies"), self.patience)
        ids: dict[str, list[str]] = {}
        try:
            for coin in listed:
                ids.setdefault(str(coin["symbol"]).upper(), []).append(str(coin["id"]))
            self._money = [str(one).upper() for one in money]
        except (TypeError, KeyError) as error:
            raise SourceError(f"coingecko: its list of coins cannot be read ({error!r})", retryable=True) from error
        self._ids = ids

    async def _coin(self, symbol: str) -> tuple[str, str]:
        await persist(self._open, self.patience)
        base, _, quote = symbol.partition("/")
        if quote not in self._money:
            hint = did_you_mean(quote, self._money)
            raise UsageError(f"coingecko has no prices in {quote or 'nothing'} ({symbol}): {hint if hint.startswith('did') else 'try USD'}")
        ids = self._ids.get(base, [])
        if not ids:
            raise UsageError(
                f"coingecko has no {symbol}: {did_you_mean(base, sorted(self._ids)) if len(self._ids) < 50 else 'is it spelled so?'}"
            )
        if len(ids) > 1 and _IDS.get(base) not in ids:
            raise UsageError(f"coingecko has {len(ids)} coins called {base} ({', '.join(ids[:5])}): which one is meant cannot be known")
        return (ids[0] if len(ids) == 1 else _IDS[base]), quote.lower()


def _row(row: Any, timeframe: Timeframe, asked: Asked) -> list[Any]:
    """A row of (time of the *end*, open, high, low, close) as others give it."""
    if not isinstance(row, list) or len(row) != 5 or not isinstance(row[0], int | float):
        raise BadPage(f"{asked}: the answer has a row that is no candle ({str(row)[:80]}): ask again")
    end = int(row[0])
    return [int(timeframe.after(end, -1)), *row[1:], None]
