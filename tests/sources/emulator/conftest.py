"""What the tests of the emulator share: a clock that stands until it is moved, rows to compare, plain requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from candelabra.candles.frame import Candles


class StandingClock:
    """A time that moves when a test says so."""

    rate = 1.0

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.002)


@dataclass(frozen=True)
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def standing() -> StandingClock:
    return StandingClock(1_700_000_000_000)


@pytest.fixture(scope="session")
def get() -> Callable[[str], Told]:
    """One plain request."""

    def get_(url: str) -> Told:
        try:
            with urlopen(url, timeout=10) as answer:
                return Told(answer.status, dict(answer.headers), answer.read())
        except HTTPError as error:
            with error:
                return Told(error.code, dict(error.headers), error.read())

    return get_


@pytest.fixture(scope="session")
def rows() -> Callable[[Candles], list[list[float]]]:
    """Candles as ccxt gives them."""

    def rows_(candles: Candles) -> list[list[float]]:
        return [list(row) for row in zip(candles.open_time.tolist(), *(v.tolist() for v in candles.values()), strict=True)]

    return rows_
