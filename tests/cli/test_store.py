"""``store``: what is kept, whether it is sound, what to do when it is not; and a store wherever candles are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.errors import DataError
from candelabra.sources import read_candles, read_raw
from candelabra.sources.lock import writing
from candelabra.sources.store import Store
from candelabra.testing.stores import example_store

Run = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return example_store(tmp_path / "kept")


def test_list_shows_each_series_with_its_size(run: Run, store: Store) -> None:
    ran = run("store", "list", store.root)
    assert ran.code == 0
    assert all(word in ran.out for word in ("binance", "BTC/USDT", "1m", "2,917", "417", "2023-12-31 12:20"))
    (told,) = run("store", "list", store.root, "--json").json["series"]
    assert (told["bars"], told["tail"], told["revisions"], told["damaged"]) == (2917, 417, 3, None)
    assert run("store", "list", store.root, "--symbol", "ETHUSDT", "--json").json["series"] == []


def test_verify_and_repair_end_in_what_to_fetch_again(run: Run, store: Store) -> None:
    assert run("store", "verify", store.root).code == 0
    assert run("store", "repair", store.root).out.strip() == "nothing to repair"
    path = store.one("BTC/USDT", "1m").folder / "2023-12.parquet"
    data = bytearray(path.read_bytes())
    data[1000] ^= 4
    path.write_bytes(data)
    ran = run("store", "verify", store.root)
    assert ran.code == 1
    assert "2023-12.parquet" in ran.out
    assert "is damaged, or not the file that was written" in " ".join(ran.out.split())
    assert run("store", "verify", store.root, "--json").json["sound"] is False
    assert run("store", "export", store.root, "BTC/USDT", "1h", "x.csv").code == 3
    ran = run("store", "repair", store.root)
    assert ran.code == 1
    assert "2023-12-31 12:20 .. 2024-01-01" in " ".join(ran.out.split())
    assert (path.parent / "quarantine" / "2023-12.parquet.1").read_bytes() == data, "nothing is deleted"
    assert run("store", "verify", store.root).code == 0
    assert len(store.read("BTC/USDT", "1m")) == 2917 - 620
    assert {h.kind for h in store.gaps("BTC/USDT", "1m", 1_704_025_200_000, 1_704_067_200_000)} == {"not fetched"}


def test_list_tells_of_a_series_that_cannot_be_read(run: Run, store: Store) -> None:
    (store.one("BTC/USDT", "1m").folder / "manifest.json").write_bytes(b"{")
    ran = run("store", "list", store.root)
    assert ran.code == 1
    assert "damaged" in ran.out
    assert "manifest.json is damaged" in ran.out
    assert run("store", "repair", store.root, "--json").json["mended"][0]["file"] == "manifest.json"
    assert run("store", "list", store.root).code == 0


def test_compact_folds_the_tail(run: Run, store: Store) -> None:
    assert run("store", "compact", store.root, "--json").json["folded"] == {"BTC/USDT 1m of binance": 417}
    assert "0 bars folded" in run("store", "compact", store.root).out


@pytest.mark.parametrize("name", ["hours.parquet", "BTCUSDT_1h.csv"])
def test_export_writes_any_timeframe_and_range(run: Run, store: Store, name: str) -> None:
    ran = run("store", "export", store.root, "BTCUSDT", "1h", name, "--since", "2024-01-01", "--until", "2024-01-01T12:00", "--json")
    assert ran.code == 0
    assert (ran.json["bars"], ran.json["source"]) == (12, "1m")
    (got,) = read_candles(name, symbol="BTC/USDT")
    wanted = store.read("BTC/USDT", "1h").between(1_704_067_200_000, 1_704_067_200_000 + 12 * 3_600_000)
    assert all((a == b).all() for a, b in zip(got.values(), wanted.values(), strict=True))
    assert "made of 1m bars" in run("store", "export", store.root, "BTC/USDT", "1h", name).out


def test_gaps_and_revisions_are_told_in_words(run: Run, store: Store) -> None:
    ran = run("store", "gaps", store.root, "BTC/USDT", "1m", "--until", "2024-01-05")
    assert [word in ran.out for word in ("exchange gap", "unknown", "not fetched")] == [True] * 3
    told = run("store", "gaps", store.root, "BTC/USDT", "1m", "--json").json["gaps"]
    assert [(g["kind"], g["bars"]) for g in told] == [("exchange gap", 80), ("unknown", 3)]
    ran = run("store", "revisions", store.root, "BTC/USDT", "1m")
    assert ran.out.count("->") == 3
    first = run("store", "revisions", store.root, "BTC/USDT", "1m", "--json").json["revisions"][0]
    assert (first["old_source"], first["source"], first["new"][4]) == ("a file", "again", pytest.approx(first["old"][4] + 1))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("list", "nowhere"), 2, "is not a store"),
        (("export", "kept", "ETH/USDT", "1h", "x.csv"), 2, "no candles of ETH/USDT are stored"),
        (("export", "kept", "BTC/USDT", "1h", "x.json"), 2, "ends in neither .parquet nor .csv"),
        (("export", "kept", "BTC/USDT", "1h", "no/x.csv"), 4, "cannot write no/x.csv"),
        (("export", "kept", "BTC/USDT", "1x", "x.csv"), 2, "is not a timeframe"),
        (("gaps", "kept", "BTC/USDT", "5m"), 2, "no candles of BTC/USDT are stored"),
        (("gaps", "kept", "BTC/USDT", "1m", "--since", "soon"), 2, "is not a time"),
        (("list", "kept", "--timeframe", "x"), 2, "is not a timeframe"),
    ],
)
def test_mistakes_are_a_line_and_an_exit_code(run: Run, store: Store, arguments: tuple[str, ...], code: int, message: str) -> None:
    ran = run("store", *arguments)
    assert (ran.code, message in ran.err, ran.out) == (code, True, "")


def test_a_series_that_is_being_written_is_a_refusal_with_code_4(run: Run, store: Store) -> None:
    with writing(store.one("BTC/USDT", "1m").folder, "x"):
        for verb in ("compact", "repair"):
            ran = run("store", verb, store.root)
            assert ran.code == 4
            assert "is being written by process" in ran.err


def test_a_store_is_a_place_that_candles_are_read_from(run: Run, store: Store) -> None:
    (minutes,) = read_candles(store.root)
    assert minutes.fingerprint == store.read("BTC/USDT", "1m").fingerprint
    (hours,) = read_candles(store.root / "binance", timeframe="1h")
    assert hours.fingerprint == store.read("BTC/USDT", "1h").fingerprint
    ran = run("check", store.root)
    assert ran.code == 0
    assert "BTC/USDT 1m" in ran.out
    assert run("check", store.root, "--symbol", "ETH/USDT").code == 3


def test_two_exchanges_in_a_store_are_not_mixed(run: Run, store: Store) -> None:
    store.write(store.read("BTC/USDT", "1m"), exchange="kraken", source="x")
    with pytest.raises(DataError, match="prices differ by exchange"):
        read_candles(store.root)
    ran = run("check", store.root)
    assert ran.code == 0
    assert "the same candles" in ran.out
    assert len(read_raw(store.root / "kraken")[0]) == 2917


def test_the_newest_bar_of_a_store_is_never_taken_for_one_still_forming(tmp_path: Path) -> None:
    """A file's bar counts as forming when the file was saved before it closed; a store's bars were closed when they came."""
    import time

    from candelabra.candles import Candles

    store = Store.create(tmp_path / "s")
    hour = int(time.time() * 1000) // 3_600_000 * 3_600_000 - 3_600_000
    store.write(Candles.of("BTC/USDT", "1h", hour + 3_600_000 * np.arange(-9, 1), *[np.full(10, 5.0)] * 5), exchange="binance", source="x")
    assert len(read_candles(store.root)[0]) == 10
