"""What came back over the wire, request by request: status, headers, the JSON and the rows ccxt took out of it before it tidied them."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from candelabra.sources.exchanges.skew import date_ms

__all__ = ["Heard", "listen"]


@dataclass
class Heard:
    """The last answer within one question; requests of other tasks do not mix in."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    rows: Any = None
    market: Any = None

    @property
    def date_ms(self) -> int | None:
        """When the exchange says it answered (ms UTC, whole seconds)."""
        return date_ms(self.headers.get("date"))

    @property
    def retry_after_s(self) -> float | None:
        """How long the exchange wants to be left alone."""
        text = self.headers.get("retry-after", "").strip()
        try:
            return max(0.0, float(text))
        except ValueError:
            until = date_ms(text)
        if until is None:
            return None
        since = self.date_ms if self.date_ms is not None else int(datetime.now(UTC).timestamp() * 1000)
        return max(0.0, (until - since) / 1000)

    @property
    def rows_came(self) -> bool:
        """Whether the rows are a list of the answer itself, and not what ccxt puts in the place of something it could not read."""
        return isinstance(self.rows, list) and (self.rows is self.json or _holds(self.json, self.rows))


def _holds(json: Any, rows: list[Any], depth: int = 3) -> bool:
    if not isinstance(json, dict) or not depth:
        return False
    return any(value is rows or _holds(value, rows, depth - 1) for value in json.values())


def listen(exchange: Any) -> ContextVar[Heard | None]:
    """Have a ccxt exchange note every answer in the `Heard` of the returned variable; ``fetch_ohlcv`` gives [] and leaves its rows there.

    ccxt sorts rows, cuts them to the limit and drops those before ``since`` without a word: what is wrong is seen before that.
    """
    current: ContextVar[Heard | None] = ContextVar("heard", default=None)
    parse_json, on_rest_response = exchange.parse_json, exchange.on_rest_response

    def answered(code: int, reason: str, url: str, method: str, response_headers: dict[str, str], *rest: Any) -> Any:
        heard = current.get()
        if heard is not None:
            heard.status, heard.json, heard.rows = code, None, None
            heard.headers = {name.lower(): value for name, value in response_headers.items()}
        return on_rest_response(code, reason, url, method, response_headers, *rest)

    def parsed(text: str) -> Any:
        json = parse_json(text)
        heard = current.get()
        if heard is not None:
            heard.json = json
        return json

    def kept(ohlcvs: Any, market: Any = None, *rest: Any, **others: Any) -> list[Any]:
        heard = current.get()
        if heard is not None:
            heard.rows, heard.market = ohlcvs, market
        return []

    exchange.on_rest_response, exchange.parse_json, exchange.parse_ohlcvs = answered, parsed, kept
    return current
