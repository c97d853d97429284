"""The service in this process, asked over ASGI, and bodies that it can answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.serving.api import create_app
from candelabra.testing import example_candles

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def predictor(product: Path) -> Predictor:
    return Predictor.open(product)


@pytest.fixture(scope="session")
def app(predictor: Predictor) -> FastAPI:
    return create_app(predictor)


@pytest.fixture(scope="session")
def market() -> Candles:
    return example_candles("15m", 4 * 1400, seed=3)


@pytest.fixture
def ask(app: FastAPI) -> Ask:
    """One request, answered by the application (``of`` another one)."""

    def ask_(method: str, path: str, *, of: FastAPI = app, **given: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=of, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                return await client.request(method, path, **given)

        return asyncio.run(asked())

    return ask_


def columns_of(candles: Candles) -> dict[str, list[float]]:
    names = ("open", "high", "low", "close", "volume")
    return {"open_time": candles.open_time.tolist()} | {n: v.tolist() for n, v in zip(names, candles.values(), strict=True)}


@pytest.fixture(scope="session")
def body(market: Candles) -> dict[str, Any]:
    """Raw candles of the finest timeframe, as columns."""
    return {"symbol": market.symbol, "candles": {"15m": columns_of(market)}}


@pytest.fixture(scope="session")
def columns() -> Callable[[Candles], dict[str, list[float]]]:
    return columns_of
