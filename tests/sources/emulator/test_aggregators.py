"""CoinGecko, CryptoCompare and Binance Vision emulated, asked over plain HTTP."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from candelabra.candles.frame import same_candles
from candelabra.errors import UsageError
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults, write_vision
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.importing import import_files
from candelabra.sources.store import Store

pytest.importorskip("aiohttp")

DAY = 86_400_000
NOW = 1_700_000_000_000
SPOT = EmulatedMarket("BTC/USDT", seed=7, listed_ms=NOW - 400 * DAY)


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    markets = [SPOT, EmulatedMarket("BTC/USDT:USDT", seed=7, listed_ms=NOW - 400 * DAY)]
    names = ("coingecko", "cryptocompare", "binance-vision")
    with Emulator(markets, exchange=names, clock=FastClock(NOW, rate=0.001)) as running:
        yield running


def asked(emulator: Emulator, path: str) -> Any:
    with urlopen(emulator.url + path, timeout=10) as answer:
        return json.loads(answer.read())


@pytest.mark.parametrize(("days", "frame"), [("1", "30m"), ("14", "4h"), ("90", "4d")])
def test_coingecko_stamps_a_candle_at_its_end_and_has_no_volume(emulator: Emulator, days: str, frame: str) -> None:
    rows = asked(emulator, f"/api/v3/coins/bitcoin/ohlc?vs_currency=usd&days={days}")
    truth = SPOT.truth(frame, NOW - (int(days) + 5) * DAY, NOW)
    closed = [row for row in rows if row[0] <= NOW]
    assert len(rows) - len(closed) == 1  # the last is still forming
    assert [row[0] for row in closed] == truth.close_time[-len(closed) :].tolist()
    assert [row[1:] for row in closed] == [list(map(float, row)) for row in list(zip(*truth.values()[:4], strict=True))[-len(closed) :]]


def test_coingecko_tells_prices_and_what_was_traded_in_a_day(emulator: Emulator) -> None:
    chart = asked(emulator, "/api/v3/coins/bitcoin/market_chart?vs_currency=usd&days=30")
    hours = SPOT.truth("1h", NOW - 40 * DAY, NOW)
    assert [p for p in chart["prices"] if p[0] <= NOW] == [[int(t), float(c)] for t, c in zip(hours.close_time, hours.close, strict=True)][
        -720:
    ]
    time, volume = chart["total_volumes"][100]
    day = hours.between(time - DAY, time)
    assert volume == pytest.approx(float(day.volume.sum() * day.close[-1]))
    assert asked(emulator, "/api/v3/coins/list") == [{"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"}]
    with pytest.raises(HTTPError, match="404"):
        asked(emulator, "/api/v3/coins/nocoin/ohlc?vs_currency=usd&days=1")


def test_cryptocompare_gives_one_row_more_and_zeros_before_the_listing(emulator: Emulator) -> None:
    told = asked(emulator, f"/data/v2/histohour?fsym=BTC&tsym=USD&limit=100&toTs={NOW // 1000 - 3600}")["Data"]["Data"]
    truth = SPOT.truth("1h", NOW - 200 * 3_600_000, NOW - 600_000)
    assert [row["time"] * 1000 for row in told] == truth.open_time[-101:].tolist()
    assert [[row[k] for k in ("open", "high", "low", "close", "volumefrom")] for row in told] == [
        list(map(float, row)) for row in list(zip(*truth.values(), strict=True))[-101:]
    ]
    listed = SPOT.listed_ms // 1000 + 10 * 86_400
    early = asked(emulator, f"/data/v2/histoday?fsym=BTC&tsym=USD&limit=20&toTs={listed}")["Data"]["Data"]
    assert (len(early), early[0]["close"], early[-1]["close"] > 0) == (21, 0.0, True)
    for bad in ("/data/v2/histominute?fsym=BTC&tsym=USD&limit=5&toTs=1690000000", "/data/v2/histohour?fsym=XX&tsym=USD&limit=5"):
        assert asked(emulator, bad)["Response"] == "Error"


def test_vision_archives_fit_their_checksums_and_a_damaged_one_does_not(emulator: Emulator) -> None:
    path = "/data/spot/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2023-11-01.zip"

    def got(tail: str = "") -> bytes:
        with urlopen(emulator.url + path + tail, timeout=10) as answer:
            found: bytes = answer.read()
        return found

    archive, promised = got(), got(".CHECKSUM").split()[0].decode()
    assert hashlib.sha256(archive).hexdigest() == promised
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        assert packed.namelist() == ["BTCUSDT-1m-2023-11-01.csv"]
    emulator.restart(Faults(script={0: "truncated"}))
    assert hashlib.sha256(got()).hexdigest() != promised
    emulator.restart()
    for missing in ("2023-11-20", "2023-11", "2021-01-01"):
        with pytest.raises(HTTPError, match="404"):
            urlopen(emulator.url + path.replace("2023-11-01", missing), timeout=10)


@pytest.mark.parametrize("start", [1_696_982_400_000, 1_735_603_200_000])  # months and days; before and after microseconds
def test_a_written_tree_is_imported_as_the_truth(tmp_path: Path, start: int) -> None:
    market = EmulatedMarket("BTC/USDT", seed=3, outages=0.4, quiet=0.4)
    end = start + 55 * DAY
    written = write_vision(tmp_path / "tree", market, ["1h"], start, end)
    assert {len(p.stem.split("-", 2)[2]) for p in written} == {7, 10}
    assert all(p.with_name(p.name + ".CHECKSUM").is_file() for p in written)
    store = Store.create(tmp_path / "store")
    import_files(written, store)
    assert same_candles(store.read("BTC/USDT", "1h"), market.truth("1h", start, end))


def test_vision_has_funding_of_perpetuals_by_month(tmp_path: Path) -> None:
    market = EmulatedMarket("BTC/USDT:USDT", seed=3)
    (path,) = write_vision(tmp_path, market, ["fundingRate"], 1_696_118_400_000, 1_698_796_800_000)
    with zipfile.ZipFile(path) as packed:
        head, *lines = packed.read(packed.namelist()[0]).decode().split()
    assert head == "calc_time,funding_interval_hours,last_funding_rate"
    assert len(lines) == 93
    with pytest.raises(UsageError, match="no 45m archives"):
        write_vision(tmp_path, market, ["45m"], 0, 1)
