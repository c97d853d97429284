"""CryptoCompare: candles of an average over exchanges; minutes of the last week, hours and days of all years."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError, UsageError
from candelabra.sources.exchanges.contract import Connection, Page, Rules
from candelabra.sources.exchanges.keys import Secret, key_for
from candelabra.sources.exchanges.listing import first_by_pages
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.exchanges.pages import Asked, BadPage, checked
from candelabra.sources.exchanges.rules import oldest_ms
from candelabra.sources.exchanges.web import WebSource

__all__ = ["CryptoCompare"]

_PATHS: Final = {"1m": "/data/v2/histominute", "1h": "/data/v2/histohour", "1d": "/data/v2/histoday"}
_FIELDS: Final = ("open", "high", "low", "close", "volumefrom")
_TOO_FAST: Final = 99
_RULES: Final = Rules(
    page=2000,
    newest_of={"1m": 7 * 1440},
    absent="unknown",
    socket=False,
    calls_per_second=3.0,
    advice="CryptoCompare keeps minutes for seven days; take 1h, or an exchange's own minutes",
)


class CryptoCompare(WebSource):
    """`Source` of CryptoCompare's ``/data/v2/histo…``. A bar of zeros is one that it does not have."""

    def __init__(self, connection: Connection, patience: Patience | None = None) -> None:
        key = key_for("cryptocompare")
        headers = {} if key is None else {"authorization": Secret(f"Apikey {key.open()}")}
        super().__init__(connection, "https://min-api.cryptocompare.com", _RULES, headers, patience)

    async def symbols(self) -> Sequence[str]:
        """Nothing: it has no short list; what it does not know it says when it is asked."""
        return ()

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """See `Source.page`."""
        if timeframe.name not in _PATHS:
            raise UsageError(f"cryptocompare has no candles of {timeframe}: fetch one of {', '.join(_PATHS)}")
        now = await self.now_ms()
        end = min(end_ms, int(timeframe.after(start_ms, self.rules.page)))
        asked = Asked(self.name, symbol, timeframe, start_ms, end, now, loose=True, simulated=self._simulated)
        oldest = oldest_ms(self.rules, timeframe, now, spare=0)
        if oldest is not None and start_ms < oldest:
            raise SourceError(f"{asked} cannot be had: {self.rules.advice}")
        if asked.end_closed_ms <= start_ms:
            return checked([], asked)
        bars = int(timeframe.index(asked.end_closed_ms) - timeframe.index(start_ms))
        last = int(timeframe.after(asked.end_closed_ms, -1)) // 1000
        base, _, quote = symbol.partition("/")
        query = {"fsym": base, "tsym": quote, "limit": max(1, bars - 1), "toTs": last}
        rows = self._rows(await self.ask(str(asked), _PATHS[timeframe.name], query), asked, max(2, bars))
        return checked(rows, asked)

    async def first_ms(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        """See `Source.first_ms`."""
        after = max(int(timeframe.ceil(after_ms)), oldest_ms(self.rules, timeframe, await self.now_ms()) or 0)
        return await first_by_pages(self, symbol, timeframe, after, [Timeframe("1d")], self.patience)

    def date_path(self) -> tuple[str, dict[str, Any]]:
        """The newest day of a coin that everybody has."""
        return _PATHS["1d"], {"fsym": "BTC", "tsym": "USD", "limit": 1}

    def _rows(self, answer: Any, asked: Asked, count: int) -> list[Any]:
        told = answer if isinstance(answer, dict) else {}
        if told.get("Response") == "Error":
            text = str(told.get("Message"))[:160]
            if told.get("Type") == _TOO_FAST:
                self.pace.too_fast(None)
                raise SourceError(f"{asked}: cryptocompare was asked too often ({text})", retryable=True)
            if told.get("Type") == 1:
                raise SourceError(f"{asked}: cryptocompare is in trouble ({text})", retryable=True)
            raise UsageError(f"{asked}: cryptocompare cannot answer that ({text})")
        data = told.get("Data")
        rows = data.get("Data") if isinstance(data, dict) else None
        if not isinstance(rows, list) or not rows:
            raise BadPage(f"{asked}: the answer has no list of candles where one belongs: ask again")
        if len(rows) != count:
            raise BadPage(f"{asked}: the answer has {len(rows)} candles where {count} were asked for: ask again")
        try:
            made = [[row["time"] * 1000, *(row[name] for name in _FIELDS)] for row in rows]
            return [row for row in made if any(row[1:5])]
        except (TypeError, KeyError) as error:
            raise BadPage(f"{asked}: the answer has a row that is no candle ({error!r}): ask again") from error
