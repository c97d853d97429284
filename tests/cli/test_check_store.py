"""``check`` on a store: reasons of absent bars, its exchanges against each other, and the calendar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from candelabra.sources.store import Store
from candelabra.testing import example_candles
from candelabra.testing.stores import example_store

Run = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return example_store(tmp_path / "kept")


def test_reasons_and_revisions_are_told(run: Run, store: Store) -> None:
    ran = run("check", store.root)
    assert all(word in ran.out for word in ("exchange gap", "not fetched", "no trade", "revised"))
    (told,) = run("check", store.root, "--json").json["coverage"]
    assert (told["absent"]["exchange gap"], told["absent"]["unknown"], told["revisions"]) == (80, 3, 3)


def test_two_exchanges_are_held_against_each_other(run: Run, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "two")
    bars = example_candles("1h", 300, seed=3, gaps=False)
    other = example_candles("1h", 300, seed=4, gaps=False)
    store.write(bars, exchange="binance", source="x")
    store.write(bars, exchange="kraken", source="x")
    ran = run("check", store.root, "--json")
    assert [one["verdict"] for one in ran.json["across"]] == ["the same candles"]
    assert ran.json["refused"] == [], "prices of two exchanges side by side are no mistake in a store"
    store.write(replace(other, symbol=bars.symbol), exchange="coinbase", source="x")
    ran = run("check", store.root)
    assert ran.code == 1
    assert "not the same market" in ran.out
    assert run("check", store.root / "binance", "--json").json["across"] == []


def test_the_picture_is_one_file_that_asks_nobody(run: Run, store: Store, tmp_path: Path) -> None:
    picture = tmp_path / "coverage.html"
    ran = run("check", store.root, "--picture", picture)
    assert str(picture) in ran.out.replace("\n", "")
    page = picture.read_text()
    assert "80 exchange gap" in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_plain_files_have_a_calendar_too(run: Run, tmp_path: Path, store: Store) -> None:
    run("store", "export", store.root, "BTC/USDT", "1m", tmp_path / "BTCUSDT_1m.csv")
    ran = run("check", tmp_path / "BTCUSDT_1m.csv", "--picture", tmp_path / "c.html", "--json")
    assert ran.json["coverage"][0]["absent"]["unknown"] == 83
    assert (tmp_path / "c.html").is_file()
