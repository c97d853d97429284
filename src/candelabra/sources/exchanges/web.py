"""JSON over plain HTTP for sources that ccxt does not know: paced, timed, and its faults told as those of exchanges are."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from candelabra.errors import MissingExtraError, SourceError, UsageError
from candelabra.sources.exchanges.answers import Heard
from candelabra.sources.exchanges.contract import Connection, Rules
from candelabra.sources.exchanges.faults import by_status
from candelabra.sources.exchanges.keys import Secret
from candelabra.sources.exchanges.pace import Pace, Patience
from candelabra.sources.exchanges.skew import ExchangeTime

__all__ = ["WebSource"]


class WebSource(ABC):
    """What sources over HTTP share; they bring ``page``, and where to ask for nothing but the date."""

    def __init__(self, connection: Connection, home: str, rules: Rules, headers: Mapping[str, Secret], patience: Patience | None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("httpx", "exchanges", f"fetching from {connection.exchange}") from error
        self.name, self.rules = connection.exchange, rules
        self.pace = Pace(self.name, 1.0 / connection.options.get("calls_per_second", rules.calls_per_second))
        self.patience = patience or Patience()
        self._simulated = connection.base_url is not None
        self._time = ExchangeTime(connection.clock)
        self._base = (connection.base_url or home).rstrip("/")
        self._headers, self._timeout_s = dict(headers), connection.timeout_s
        self._httpx: Any = httpx
        self._client: Any = None

    @property
    def label(self) -> str:
        """What a store is told of where candles came from."""
        volume = "" if self.rules.volume else ", without volume"
        return f"{self.name} REST history{volume}{' (emulator)' if self._simulated else ''}"

    @property
    def skew_ms(self) -> int:
        """How far the source's time is ahead of the clock's; 0 before it was heard of."""
        return self._time.skew_ms

    async def now_ms(self) -> int:
        """The source's time, from the date of its answers."""
        return await self._time.current(self._ask_time, self.patience)

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def ask(self, what: str, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """The JSON of an answer; SourceError, retryable where asking again can help."""
        return (await self._answer(what, path, query or {}))[0]

    @abstractmethod
    def date_path(self) -> tuple[str, dict[str, Any]]:
        """A cheap question whose answer has a date."""

    async def _answer(self, what: str, path: str, query: Mapping[str, Any]) -> tuple[Any, Heard]:
        await self.pace.turn()
        if self._client is None:
            # A key is in no repr, log or address: it is opened here, for the wire.
            headers = {name: secret.open() for name, secret in self._headers.items()}
            self._client = self._httpx.AsyncClient(
                base_url=self._base, headers=headers, timeout=self._timeout_s, trust_env=not self._simulated
            )
        heard = Heard()
        try:
            async with asyncio.timeout(1.5 * self._timeout_s + 1.0):
                answer = await self._client.get(path, params=dict(query))
        except TimeoutError as error:
            raise SourceError(f"{what}: {self.name} did not answer in time", retryable=True) from error
        except (self._httpx.HTTPError, OSError) as error:
            raise SourceError(f"{what}: the line to {self.name} broke ({type(error).__name__}: {error})", retryable=True) from error
        heard.status, heard.headers = answer.status_code, {k.lower(): v for k, v in answer.headers.items()}
        refused = by_status(heard, self.pace, what, f"status {heard.status}")
        if refused is not None:
            raise refused
        try:
            heard.json = answer.json()
        except ValueError as error:
            raise SourceError(f"{what}: {self.name} gave an answer that is no JSON: ask again", retryable=True) from error
        if heard.status in (401, 400, 404, 422):
            raise UsageError(f"{what}: {self.name} cannot answer that (status {heard.status}: {str(heard.json)[:160]})")
        self.pace.answered()
        self._time.dated(heard.date_ms)
        return heard.json, heard

    async def _ask_time(self) -> None:
        path, query = self.date_path()
        _, heard = await self._answer(f"{self.name}: its time", path, query)
        if heard.date_ms is None:
            raise SourceError(f"{self.name}: its answers have no date", retryable=True)
        self._time.heard(heard.date_ms, heard.date_ms)
