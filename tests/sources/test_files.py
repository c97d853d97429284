"""Plain files: every common form is read right, everything else is refused with file, row, time and the way out."""

from __future__ import annotations

import gzip
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import Candles, resample, simulate
from candelabra.candles.quality import inspect
from candelabra.errors import CandelabraError, DataError, SourceError, UsageError
from candelabra.sources import from_frame, read_candles, read_raw, read_with_notes, to_pandas, write_candles

HOUR = 3_600_000


@pytest.fixture(scope="module")
def truth() -> Candles:
    return simulate("BTC/USDT", "1h", bars=60, seed=4).candles


def frame_of(candles: Candles, time: object = None, name: str = "timestamp") -> pd.DataFrame:
    columns = {n: getattr(candles, n) for n in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame({name: candles.open_time if time is None else time} | columns)


def assert_equal(got: Candles, truth: Candles) -> None:
    assert (got.symbol, got.timeframe, got.span, got.source) == (truth.symbol, truth.timeframe, truth.span, truth.source)
    assert got.fingerprint == truth.fingerprint


@pytest.mark.parametrize("unit", ["s", "s float", "ms", "us", "ns", "iso", "iso zone", "us date", "text ms"])
@pytest.mark.parametrize("name", ["timestamp", "Date", "TIME", "Open Time", "unix"])
def test_times_of_every_unit_and_name_are_read(truth: Candles, tmp_path: Path, unit: str, name: str) -> None:
    ms = truth.open_time
    stamps = pd.to_datetime(ms, unit="ms", utc=True)
    times = {
        "s": ms // 1000,
        "s float": ms / 1000.0,
        "ms": ms,
        "us": ms * 1000,
        "ns": ms * 1_000_000,
        "iso": stamps.strftime("%Y-%m-%d %H:%M:%S"),
        "iso zone": stamps.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "us date": stamps.strftime("%m/%d/%Y %H:%M"),
        "text ms": [f'"{t}"' for t in ms],
    }[unit]
    frame = frame_of(truth, times, name).rename(columns={"open": "Open", "close": "CLOSE", "volume": "Volume"})
    path = tmp_path / "binance_BTCUSDT_1h.csv"
    if unit == "text ms":
        frame.to_csv(path, index=False, quoting=3)
    else:
        frame.to_csv(path, index=False)
    ambiguous = unit == "us date"  # 1 to 3 January: 01/02/2020 can be read in two ways
    if ambiguous:
        with pytest.raises(DataError, match="can be read in two ways"):
            read_candles(path)
    else:
        assert_equal(read_candles(path)[0], truth)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "zip", "csv;", "parquet", "feather"])
def test_every_kind_of_file_is_read(truth: Candles, tmp_path: Path, form: str) -> None:
    frame = frame_of(truth)
    path = tmp_path / f"BTC_USDT-1h.{form.rstrip(';')}"
    text = frame.to_csv(index=False, sep=";" if form == "csv;" else ",").encode()
    if form == "csv.gz":
        path.write_bytes(gzip.compress(text))
    elif form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.csv", text)
    elif form == "parquet":
        pq.write_table(pa.Table.from_pandas(frame), path)
    elif form == "feather":
        feather.write_feather(frame, path)
    else:
        path.write_bytes(text)
    assert_equal(read_candles(path)[0], truth)


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe"),
    [("binance_BTCUSDT_1h.csv", "BTC/USDT", "1h"), ("BTC-USDT-1h-2020.csv", "BTC/USDT", "1h"), ("ETHBTC.csv", "ETH/BTC", "1h")],
)
def test_symbol_and_timeframe_come_from_name_and_step(truth: Candles, tmp_path: Path, name: str, symbol: str, timeframe: str) -> None:
    frame_of(truth).to_csv(tmp_path / name, index=False)
    got = read_candles(tmp_path / name)[0]
    assert (got.symbol, got.timeframe.name) == (symbol, timeframe)
    assert read_candles(tmp_path / name, symbol="X/Y")[0].symbol == "X/Y"


def test_a_name_that_states_another_timeframe_is_refused(truth: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_5m.csv"
    frame_of(truth).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"the bars are 1h apart .* not 5m"):
        read_candles(path)


def test_a_symbol_column_gives_several_series_and_a_name_selects(truth: Candles, tmp_path: Path) -> None:
    both = pd.concat([frame_of(truth).assign(symbol="BTCUSDT"), frame_of(truth).assign(symbol="ETH/USDT")])
    path = tmp_path / "all.csv"
    both.to_csv(path, index=False)
    assert [c.symbol for c in read_candles(path)] == ["BTC/USDT", "ETH/USDT"]
    assert [c.symbol for c in read_candles(path, symbol="ETH/USDT")] == ["ETH/USDT"]
    with pytest.raises(DataError, match="no candles of ADA/USDT"):
        read_candles(path, symbol="ADA/USDT")


@given(cut=st.integers(5, 50), overlap=st.integers(0, 5))
def test_files_of_one_series_are_joined_and_overlaps_that_agree_are_kept_once(
    tmp_path_factory: pytest.TempPathFactory, cut: int, overlap: int
) -> None:
    truth, folder = simulate("BTC/USDT", "1h", bars=60, seed=4).candles, tmp_path_factory.mktemp("parts")
    frame = frame_of(truth)
    frame.iloc[cut - overlap :].to_csv(folder / "a_BTCUSDT_1h_2.csv", index=False)
    frame.iloc[:cut].to_parquet(folder / "a_BTCUSDT_1h_1.parquet", index=False)
    (folder / "readme.md").write_text("not candles")
    series, notes = read_with_notes(folder)
    assert_equal(series[0], truth)
    assert notes.count("identical duplicate") == overlap
    assert_equal(read_candles(str(folder / "a_*"))[0], truth)
    assert_equal(read_candles([folder / "a_BTCUSDT_1h_2.csv", folder / "a_BTCUSDT_1h_1.parquet"])[0], truth)


def test_two_exchanges_are_never_mixed(truth: Candles, tmp_path: Path) -> None:
    for venue in ("kraken", "coinbase"):
        frame_of(truth).to_csv(tmp_path / f"{venue}_BTCUSDT_1h.csv", index=False)
    with pytest.raises(DataError, match=r"several places .*coinbase.*kraken"):
        read_candles(tmp_path)
    assert len(read_candles(tmp_path / "kraken_*")) == 1


def broken(truth: Candles, kind: str) -> pd.DataFrame:
    frame = frame_of(truth)
    if kind == "conflicting duplicate":
        twin = frame.iloc[[9]].assign(close=lambda f: f.close * 1.0001, high=lambda f: f.high * 1.001)
        return pd.concat([frame.iloc[:10], twin, frame.iloc[10:]])
    if kind == "disorder":
        return frame.iloc[[*range(9), 10, 9, *range(11, 60)]]
    if kind == "not finite":
        frame.loc[9, "close"] = np.nan
    if kind == "broken high/low law":
        frame.loc[9, "high"] = frame.loc[9, "low"] / 2
    if kind == "off grid":
        frame.loc[9, "timestamp"] += 60_000
    return frame


@pytest.mark.parametrize("kind", ["conflicting duplicate", "disorder", "not finite", "broken high/low law", "off grid"])
def test_bad_rows_are_refused_by_file_row_and_time_or_dropped_and_counted(truth: Candles, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "BTCUSDT_1h.csv"
    broken(truth, kind).to_csv(path, index=False)
    row = 10 if kind == "disorder" else 9
    with pytest.raises(DataError, match=rf"BTCUSDT_1h.csv, row {row} \(line {row + 2}\), 2020-01-01 09:0.*{kind}"):
        read_candles(path)
    series, notes = read_with_notes(path, on_bad="drop")
    if kind == "disorder":
        assert_equal(series[0], truth)
        assert "sorted" in notes.lines[0]
    else:
        assert_equal(series[0], truth.rows(np.delete(np.arange(60), 9)))
        assert notes.count(kind) == (2 if kind == "conflicting duplicate" else 1)
    assert inspect(read_raw(path)[0]).verdict == "unusable"


def test_a_file_written_newest_first_is_turned_round_with_a_note(truth: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_1h.csv"
    frame_of(truth).iloc[::-1].to_csv(path, index=False)
    series, notes = read_with_notes(path)
    assert_equal(series[0], truth)
    assert "newest first" in notes.lines[0]


def test_a_bar_that_is_still_open_is_left_out(truth: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_1h.csv"
    frame_of(truth).to_csv(path, index=False)
    end = truth.span[1]
    for now, bars in ((end, 60), (end - 1, 59), (end - HOUR, 59)):
        series, notes = read_with_notes(path, now_ms=now)
        assert len(series[0]) == bars
        assert notes.count("forming") == 60 - bars
    with pytest.raises(DataError, match="opens in the future"):
        read_with_notes(path, now_ms=end - HOUR - 1)


def test_a_bar_that_was_open_when_the_file_was_saved_is_left_out(truth: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_1h.csv"
    frame_of(truth).to_csv(path, index=False)
    saved = truth.span[1] / 1000 - 60
    os.utime(path, (saved, saved))
    series, notes = read_with_notes(path)
    assert len(series[0]) == 59
    assert "was still open when the file was saved" in notes.lines[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,open,high,low,close\n0,1,1,1,1\n", "no column for volume"),
        ("1517961600000,7655.0,7695.2,7650.2,7694.9,54.5\n1517961660000,7655.0,7695.2,7650.2,7694.9,54.5\n", "has no header"),
        ("made by x.com\ndate,open,high,low,close,volume\n2020-01-01,1,1,1,1,1\n", "one bar only"),
        ("timestamp,price,amount,side\n1577836800000,1,1,buy\n", "look like trades"),
        ("date,A:open,A:high,A:low,A:close,B:open,B:high,B:low,B:close\n2020-01-01,1,1,1,1,1,1,1,1\n", "no column for volume of A, B"),
        ("date,open,high,low,close,volume\n2020-01-01,1.234.567,1,1,1,1\n", "thousands separators"),
        ("date,open,high,low,close,volume\nsoon,1,1,1,1,1\n", "in no single known form, such as 'soon'"),
        ("date,time,open,high,low,close,volume\n2020-01-01,10:00,1,1,1,1,1\n", "two columns"),
        ("ts,open,high,low,close,volume\n1577836800000,1,1,1,1,1\n1577836860000000,1,1,1,1,1\n", "changes its unit"),
        ("ts,open,high,low,close,volume\n17,1,1,1,1,1\n", "no time between 1990 and 2200"),
        ("date,open,high,low,close,volume\n2020-01-01,1,1,1,1,1\n", "one bar only"),
        ("date,open,high,low,close,volume\n", "has no rows"),
        ("date,open,high,low,close,volume\n2020-01-01,1\n", "not a table that can be read"),
        ("", "not a table that can be read"),
        ("date,o,h,l,c,v\n2020-01-01 00:00,1,1,1,1,1\n2020-01-01 00:59,1,1,1,1,1\n2020-01-01 01:58,1,1,1,1,1\n", "59m, is no timeframe"),
    ],
)
def test_what_cannot_be_candles_is_refused_with_the_way_out(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_candles(path)


def test_paths_that_do_not_lead_to_candles_are_refused(tmp_path: Path, truth: Candles) -> None:
    with pytest.raises(SourceError, match="there is no file"):
        read_candles(tmp_path / "nothing.csv")
    with pytest.raises(SourceError, match="has no files that end in"):
        read_candles(tmp_path)
    frame_of(truth).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(UsageError, match="does not say which symbol"):
        read_candles(tmp_path / "data.csv")
    (tmp_path / "BTCUSDT_1h.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CandelabraError, match=r"BTCUSDT_1h.parquet"):
        read_candles(tmp_path / "BTCUSDT_1h.parquet")
    (tmp_path / "BTCUSDT_1h.xlsx").write_bytes(b"")
    with pytest.raises(UsageError, match="files that end in"):
        read_candles(tmp_path / "BTCUSDT_1h.xlsx")


def test_writing_and_reading_back_changes_nothing(tmp_path: Path) -> None:
    base = simulate("SIM/USDT", "1m", bars=500, seed=2).candles.rows(np.delete(np.arange(500), np.r_[7, 100:190]))
    for candles in (base, resample(base, "1h")):
        path = write_candles(candles, tmp_path / "odd name.parquet")
        assert_equal(read_candles(path)[0], candles)
        np.testing.assert_array_equal(read_candles(path)[0].missing, candles.missing)
    assert [p.name for p in tmp_path.iterdir()] == ["odd name.parquet"]


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(truth: Candles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_candles(truth, tmp_path / "x.parquet")
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SourceError, match="No space left on device; nothing was changed"):
        write_candles(truth.rows(slice(0, 5)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]


def test_any_data_frame_is_a_door(truth: Candles) -> None:
    frame = frame_of(truth)
    indexed = frame.set_index(pd.to_datetime(frame.pop("timestamp"), unit="ms", utc=True))
    for one in (frame_of(truth), indexed, pl.from_pandas(frame_of(truth)), pa.Table.from_pandas(frame_of(truth)), truth.to_arrow()):
        assert_equal(from_frame(one, "BTC/USDT"), truth)
    assert_equal(from_frame(to_pandas(truth), "BTC/USDT", "1h"), truth)
    with pytest.raises(UsageError, match="not an eager data frame"):
        from_frame([1, 2, 3], "BTC/USDT")
    with pytest.raises(UsageError, match="does not say which symbol"):
        from_frame(frame_of(truth))


def test_reading_does_not_import_pandas_by_itself() -> None:
    import subprocess

    code = "import sys, candelabra.sources, candelabra.candles; assert not {'pandas', 'polars', 'torch', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_real_file_is_read(ohlcv: Path) -> None:
    expected = {
        "kraken_BTCUSD_1h": ("BTC/USD", "1h", 29_704),
        "coinbase_BTCUSD_1d": ("BTC/USD", "1d", 1_770),
        "binance_ETHUSDT_5m_2023": ("ETH/USDT", "5m", 104_816),
    }
    for name, wanted in expected.items():
        (got,) = read_candles(ohlcv / f"{name}.parquet")
        assert (got.symbol, got.timeframe.name, len(got)) == wanted
    assert len(read_candles(ohlcv / "coinmarketcap_23coins_1d.parquet")) == 23


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken/BTC_1H_ohlc_constant_head400.csv", "broken high/low law"),
        ("broken/Bitfinex_BTCUSD_1h_drifting_clock_head400.csv", "59m apart|off grid"),
        ("broken/coin_Bitcoin_thousands_separators.csv", "is not numeric"),
        ("broken/BTC_USDT-1h_synthetic_labelled_as_real.feather", "broken high/low law"),
    ],
)
def test_broken_and_odd_real_files_are_refused_with_the_reason(data_folder: Path, name: str, message: str) -> None:
    path = data_folder / "raw" / name
    if not path.exists():
        pytest.skip(f"not among the real files: {name}")
    with pytest.raises(DataError, match=message):
        read_candles(path, symbol="BTC/USD" if "broken" in name else None)


def test_a_simulated_market_stays_marked_whatever_is_made_of_it(truth: Candles, tmp_path: Path) -> None:
    real = Candles.of("BTC/USDT", "1h", truth.open_time, *truth.values())
    assert real.fingerprint == truth.fingerprint
    early, late = truth.rows(slice(0, 30)), truth.between(start_ms=int(truth.open_time[30]))
    for made in (truth, early, early.append(late), resample(truth, "4h"), resample(truth.rows(slice(0, 0)), "4h")):
        assert made.simulated
        assert not resample(real, "4h").simulated
    for one in (truth, real):
        assert read_candles(write_candles(one, tmp_path / "x.parquet"))[0].simulated is one.simulated
    write_candles(early, tmp_path / "BTCUSDT_1h_a.parquet")
    write_candles(real.between(start_ms=int(truth.open_time[30])), tmp_path / "BTCUSDT_1h_b.parquet")
    (tmp_path / "x.parquet").unlink()
    assert read_candles(tmp_path)[0].simulated


@given(kinds=st.lists(st.sampled_from(["conflicting duplicate", "disorder", "not finite", "broken high/low law", "off grid"]), max_size=3))
def test_what_is_read_would_pass_every_check_of_candles(kinds: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    truth = simulate("BTC/USDT", "1h", bars=60, seed=4).candles
    frame = pd.concat([broken(truth, kind) for kind in kinds] or [frame_of(truth)])
    path = tmp_path_factory.mktemp("checked") / "BTCUSDT_1h.csv"
    frame.to_csv(path, index=False)
    (got,) = read_candles(path, on_bad="drop")
    again = Candles.of(got.symbol, got.timeframe, got.open_time, *got.values(), got.missing, span=got.span)
    assert_equal(again, got)
    assert not any(column.flags.writeable for column in (got.open_time, *got.values(), got.missing))
