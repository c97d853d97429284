"""Every form candles come in is recognised by how it begins and read right: made-up files of each, then the real ones."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candelabra.candles import Candles, simulate
from candelabra.errors import CandelabraError, DataError, SourceError, UsageError
from candelabra.sources import read_candles, read_with_notes
from candelabra.sources.forms import FORMS
from candelabra.sources.layout import Told
from candelabra.sources.members import members_of
from candelabra.sources.reading import open_member
from candelabra.testing import FORM_EXAMPLES, written

HOUR, DAY = 3_600_000, 86_400_000


@pytest.fixture(scope="module")
def truth() -> Candles:
    return simulate("BTC/USDT", "1h", bars=90, seed=4).candles


def placed(folder: Path, form: str, candles: Candles) -> Path:
    name, content = written(form, candles)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("form", FORM_EXAMPLES)
def test_each_form_is_read_to_the_same_candles(form: str, truth: Candles, tmp_path: Path) -> None:
    path = placed(tmp_path, form, truth)
    found = read_candles(path, timeframe="1h")
    if form == "wide":
        assert [(c.symbol, len(c)) for c in found] == [("BTC", 90), ("OTHER", 60)]
    got = found[0]
    assert got.symbol == {"wide": "BTC", "kaggle": "BTC/USD"}.get(form, "BTC/USDT")
    last = -1 if "trades" in form else None  # the bar that the last trade lies in may be forming still
    for name in ("open_time", "open", "high", "low", "close", "volume"):
        np.testing.assert_allclose(getattr(got, name), getattr(truth, name)[:last], rtol=1e-12, atol=1e-7)


@pytest.mark.parametrize("form", FORM_EXAMPLES)
def test_the_form_is_named_as_the_user_would_tell_it(form: str, truth: Candles, tmp_path: Path) -> None:
    path = placed(tmp_path, form, truth)
    seen = {open_member(member, Told()).layout.form for member in members_of(path)}
    assert len(seen) == 1
    (name,) = seen
    assert form.split()[0] == name or name in ("plain", "trades")
    assert {f.name for f in FORMS} >= seen
    told = Told(form=name)
    assert read_candles(path, timeframe="1h", told=told)[0].fingerprint == read_candles(path, timeframe="1h")[0].fingerprint


def test_a_form_that_is_told_must_fit(truth: Candles, tmp_path: Path) -> None:
    path = placed(tmp_path, "plain", truth)
    with pytest.raises(DataError, match=r"does not have the form kraken .*'Date', 'Open'"):
        read_candles(path, told=Told(form="kraken"))
    with pytest.raises(UsageError, match='did you mean "binance"'):
        read_candles(path, told=Told(form="binanse"))


def test_columns_can_be_told(truth: Candles, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_1h.csv"
    rows = [f"{t},{o},{h},{low},{c},{v},9" for t, o, h, low, c, v in zip(truth.open_time, *truth.values(), strict=True)]
    path.write_text("\n".join(["when,eins,zwei,drei,vier,menge,volume", *rows]))
    columns = {"open_time": "when", "open": "eins", "high": "zwei", "low": "Drei", "close": "vier", "volume": "menge"}
    assert read_candles(path, told=Told(columns=columns))[0].fingerprint == truth.fingerprint
    path.write_text("\n".join(r.rpartition(",")[0] for r in rows))
    with pytest.raises(DataError, match=r"has no header: .*--map open_time=1"):
        read_candles(path)
    numbered = dict(zip(columns, "123456", strict=True))
    assert read_candles(path, told=Told(columns=numbered))[0].fingerprint == truth.fingerprint
    with pytest.raises(UsageError, match="no column 'nine' for volume"):
        read_candles(path, told=Told(columns=numbered | {"volume": "nine"}))
    with pytest.raises(UsageError, match="'opn' is nothing a column can be"):
        Told(columns={"opn": "1"})


def lines(stamps: list[str], header: str = "date,open,high,low,close,volume") -> str:
    return "\n".join([header, *(f"{s},1,3,1,{2 + 0.1 * (k % 7)},1" for k, s in enumerate(stamps))])


@pytest.mark.parametrize(
    ("told", "stamps", "first"),
    [
        (Told(time_format="%d/%m/%Y %H:%M"), ["01/02/2020 00:00", "01/02/2020 01:00", "01/02/2020 02:00"], "2020-02-01T00"),
        (Told(time_format="%d/%m/%Y %H.%M.%f"), ["01/02/2020 00.00.0", "01/02/2020 01.00.0", "01/02/2020 02.00.0"], "2020-02-01T00"),
        (Told(time_format="%Y%m%d%H"), ["2020020100", "2020020101", "2020020102"], "2020-02-01T00"),
        (Told(time_zone="America/New_York"), ["2020-02-01 00:00", "2020-02-01 01:00", "2020-02-01 02:00"], "2020-02-01T05"),
        (Told(time_zone="Asia/Tokyo"), [f"2020-02-01 0{k}:00:00+00:00" for k in range(3)], "2020-02-01T00"),
        (Told(stamps="close"), ["2020-02-01 01:00", "2020-02-01 02:00", "2020-02-01 03:00"], "2020-02-01T00"),
        (Told(), ["2020-02-01 00:59:59", "2020-02-01 01:59:59", "2020-02-01 02:59:59"], "2020-02-01T00"),
        (Told(), ["2020-02-01 00:59:59.999", "2020-02-01 01:59:59.999", "2020-02-01 02:59:59.999"], "2020-02-01T00"),
        (Told(), ["2020-02-01 12-AM", "2020-02-01 01-AM", "2020-02-01 02-AM"], "2020-02-01T00"),
    ],
)  # fmt: skip
def test_times_can_be_told_or_are_plain(told: Told, stamps: list[str], first: str, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(lines(stamps))
    got = read_candles(path, told=told)[0]
    start = int(np.datetime64(first, "ms").astype(np.int64))
    assert got.open_time.tolist() == [start, start + HOUR, start + 2 * HOUR]


def test_a_column_of_close_times_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(lines([str(k * HOUR + 1_600_002_000_000 // HOUR * HOUR) for k in range(1, 5)], "close_time,open,high,low,close,volume"))
    series, notes = read_with_notes(path)
    assert series[0].open_time[0] == 1_600_002_000_000 // HOUR * HOUR
    assert "stamped at their end" in notes.lines[0]


def test_month_ends_are_seen_and_told(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(lines(["2020-01-31", "2020-02-29", "2020-03-31", "2020-04-30"]))
    for told in (Told(), Told(stamps="month-end")):
        (got,) = read_candles(path, told=told)
        assert got.timeframe.name == "1M"
        assert got.open_time.astype("datetime64[ms]").astype("datetime64[D]").astype(str).tolist() == [f"2020-0{k}-01" for k in range(1, 5)]
    with pytest.raises(DataError, match="off grid"):
        read_candles(path, told=Told(stamps="open"))


def test_an_hour_that_happened_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTCEUR.csv"
    path.write_text(lines([f"2020-10-25 0{k}:00" for k in range(6)]))
    with pytest.raises(DataError, match="happened twice or never in Europe/Berlin"):
        read_candles(path, told=Told(time_zone="Europe/Berlin"))
    with pytest.raises(UsageError, match="no time zone"):
        Told(time_zone="Mars/Olympus")


def test_dates_that_fit_two_forms_are_decided_by_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_1h.csv"
    hours = np.datetime64("2020-02-01T00", "h") + np.arange(24 * 13)
    stamps = [f"{h.item():%d/%m/%Y %H:%M}" for h in hours]
    path.write_text(lines(stamps))  # from the 13th on, only one reading is left
    (got,) = read_candles(path)
    assert got.open_time[0] == int(hours[0].astype("datetime64[ms]").astype(np.int64))
    path.write_text(lines(stamps[: 24 * 12]))
    with pytest.raises(DataError, match=r"can be read in two ways: '01/02/2020 00:00' as 2020-.* or 2020-.*--time-format"):
        read_candles(path)


def test_volumes_are_put_right_row_by_row_and_near_a_price_of_one_left_alone(truth: Candles, tmp_path: Path) -> None:
    (got,) = read_candles(placed(tmp_path, "cryptodatadownload", truth))
    np.testing.assert_allclose(got.volume, truth.volume)
    cheap = Candles.of("BTC/USDT", "1h", truth.open_time, *(v / truth.close * 1.1 for v in truth.values()[:4]), truth.volume)
    (left,) = read_candles(placed(tmp_path, "cryptodatadownload", cheap))
    half = len(cheap) // 2
    np.testing.assert_allclose(left.volume[half:], cheap.volume[half:])
    np.testing.assert_allclose(left.volume[:half], (cheap.volume * cheap.close)[:half])


@pytest.mark.parametrize("cell", ["1.234.567", "1.234.567,89", "1 234 567", "1'234.5", '"1,234.5"'])
def test_thousands_separators_refuse_the_file_wherever_they_stand(cell: str, tmp_path: Path) -> None:
    text = lines([f"2020-01-{k:02d}" for k in range(1, 30)]).replace("2020-01-28,1", f"2020-01-28,{cell}")
    path = tmp_path / "BTCUSDT.csv"
    path.write_text(text)
    with pytest.raises(CandelabraError, match=r"thousands separators|is not a table"):
        read_candles(path)


def test_archives_are_read_member_by_member_and_damage_is_told(truth: Candles, tmp_path: Path) -> None:
    path = placed(tmp_path, "binance zip", truth)
    data = path.read_bytes()
    for wrong in (data[:100], data[: len(data) // 2], b""):
        path.write_bytes(wrong)
        with pytest.raises((SourceError, DataError), match=path.name):
            read_candles(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.md", "nothing")
    with pytest.raises(DataError, match="holds no file that ends in"):
        read_candles(path)
    packed = placed(tmp_path, "plain gz", truth)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(SourceError, match="cannot read"):
        read_candles(packed)


def real(folder: Path, *names: str) -> list[Path]:
    paths = [folder / "raw" / name for name in names]
    if not all(p.exists() for p in paths):
        pytest.skip(f"not among the real files: {', '.join(names)}")
    return paths


def assert_values(got: Candles, wanted: Candles) -> None:
    np.testing.assert_array_equal(got.open_time, wanted.open_time)
    for a, b in zip(got.values(), wanted.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("cryptodatadownload/Kraken_BTCUSD_1h.csv", "kraken_BTCUSD_1h"),
        ("cryptodatadownload/Coinbase_BTCUSD_1h.csv", "coinbase_BTCUSD_1h"),
        ("cryptodatadownload/Coinbase_BTCUSD_d.csv", "coinbase_BTCUSD_1d"),
    ],
)
def test_real_downloads_equal_the_cleaned_series(data_folder: Path, name: str, known: str) -> None:
    (path,) = real(data_folder, name)
    (got,), (wanted,) = read_candles(path), read_candles(data_folder / "ohlcv" / f"{known}.parquet")
    assert_values(got, wanted)


def test_the_real_wide_file_equals_its_three_series(data_folder: Path) -> None:
    (path,) = real(data_folder, "wide/bitstamp_(BTC,ETH,LTC)USD_d.csv")
    for got in read_candles(path):
        (wanted,) = read_candles(data_folder / "ohlcv" / f"bitstamp_{got.symbol.replace('/', '')}_1d.parquet")
        assert_values(got, wanted)


def test_the_real_swapped_volumes_are_found_to_the_row(data_folder: Path) -> None:
    (path,) = real(data_folder, "cryptodatadownload/Bitstamp_BTCUSD_1h.csv")
    (got,), notes = read_with_notes(path)
    assert any("swapped in 20,143 of 37,387 rows" in line for line in notes.lines)
    assert got.volume.max() < 1e5  # coins, not dollars
    assert len(got) == 37_387


def test_real_days_of_binance_join_over_the_change_of_unit(data_folder: Path) -> None:
    names = [f"binance_vision/BTCUSDT-1m-{day}.csv" for day in ("2024-12-31", "2025-01-01")]
    (got,) = read_candles(real(data_folder, *names))
    assert len(got) == 2880
    assert len(got.run_starts) == 1
    (outage,) = read_candles(real(data_folder, "binance_vision/BTCUSDT-1m-2023-03-24.csv"))
    (year,) = read_candles(data_folder / "ohlcv" / "binance_BTCUSDT_1m_2023.parquet")
    assert_values(outage, year.between(int(outage.open_time[0]), int(outage.close_time[-1])))
    assert len(outage) == 1360


def test_real_trades_make_the_bars_that_the_exchange_made(data_folder: Path) -> None:
    feather, packed, bars = real(
        data_folder, "freqtrade/XRP_ETH-trades.feather", "freqtrade/XRP_ETH-trades.json.gz", "freqtrade/XRP_ETH-1m.feather"
    )
    (made,), (again,), (wanted,) = read_candles(feather, timeframe="1m"), read_candles(packed, timeframe="1m"), read_candles(bars)
    assert made.fingerprint == again.fingerprint
    assert_values(made, wanted.rows(slice(0, -1)))
    (seconds,) = read_candles(feather, timeframe="1s")
    assert len(seconds) == 7_218  # of 7,220 seconds with trades, the first had begun and the last may go on


@pytest.mark.parametrize(
    ("name", "symbol", "timeframe", "bars", "first"),
    [
        ("kraken_ohlcvt/XBTUSD_60.csv", "BTC/USD", "1h", 2160, "2023-01-01"),
        ("kraken_ohlcvt/XBTUSDC_15.csv", "BTC/USDC", "15m", 8569, "2023-01-01"),
        ("binance_vision_um/NEARUSDT-1m-2023-02_first3days.csv", "NEAR/USDT", "1m", 4320, "2023-02-01"),
        ("freqtrade/UNITTEST_BTC-1m.feather", "UNITTEST/BTC", "1m", 13_681, "2017-11-04"),
        ("kaggle/coin_Dogecoin.csv", "DOGE/USD", "1d", 2760, "2013-12-16"),
        ("kaggle/backtesting_py_BTCUSD_monthly.csv", "BTC/USD", "1M", 156, "2012-01-01"),
    ],
)
def test_other_real_files_are_read(data_folder: Path, name: str, symbol: str, timeframe: str, bars: int, first: str) -> None:
    (got,) = read_candles(real(data_folder, name))
    assert (got.symbol, got.timeframe.name, len(got)) == (symbol, timeframe, bars)
    assert str(got.open_time[0].astype("datetime64[ms]").astype("datetime64[D]")) == first


@pytest.mark.parametrize("column", ["note", "volume", "symbol"])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_a_quote_that_swallows_lines_refuses_the_file(column: str, closed: bool, packed: bool, truth: Candles, tmp_path: Path) -> None:
    """A reader takes all that follows an open quote for one cell: the lines in it would be lost without a word."""
    rows = [f"{t},{o},{h},{low},{c},{v},BTCUSDT,x" for t, o, h, low, c, v in zip(truth.open_time, *truth.values(), strict=True)]
    cells = rows[5].split(",")
    at = {"volume": 5, "symbol": 6, "note": 7}[column]
    cells[at] = f'"{cells[at]}' + ("\n" + 'more"' if closed else "")
    rows[5] = ",".join(cells)
    text = "\n".join(["open_time,open,high,low,close,volume,symbol,note", *rows, ""]).encode()
    path = tmp_path / ("BTCUSDT_1h.csv.gz" if packed else "BTCUSDT_1h.csv")
    path.write_bytes(gzip.compress(text) if packed else text)
    with pytest.raises(DataError, match=r"BTCUSDT_1h.csv"):
        read_candles(path)
    reading = open_member(members_of(path)[0], Told(), lenient=True)
    with pytest.raises(DataError, match=r"9\d lines hold \d+ rows: a quote"):
        list(reading.chunks())


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read_and_counted(end: str, truth: Candles, tmp_path: Path) -> None:
    text = written("plain", truth)[1].decode().replace("\n", end)
    path = tmp_path / "BTCUSDT_1h.csv"
    path.write_bytes(text.encode())
    assert read_candles(path)[0].open_time.tolist() == truth.open_time.tolist()
    for encoding in ("utf-8-sig", "utf-16"):
        path.write_bytes(text.encode(encoding))
        assert read_candles(path)[0].open_time.tolist() == truth.open_time.tolist()


def test_a_stamp_no_calendar_has_is_a_row_rejected_by_name(tmp_path: Path) -> None:
    table = pa.table(
        {"timestamp": pa.array([10**17], pa.timestamp("ms")), **{n: [1.0] for n in ("open", "high", "low", "close", "volume")}}
    )
    pq.write_table(table, tmp_path / "BTCUSDT_1h.parquet")
    with pytest.raises(CandelabraError):
        read_candles(tmp_path / "BTCUSDT_1h.parquet")


@pytest.mark.parametrize("word", ["", "nan", "NaN", "NULL", "None", "NA", "n/a"])
def test_words_for_nothing_are_empty_cells(word: str, truth: Candles, tmp_path: Path) -> None:
    name, content = written("plain", truth)
    lines_ = content.decode().splitlines()
    lines_[6] = lines_[6].rpartition(",")[0] + f",{word}"
    path = tmp_path / name
    path.write_text("\n".join(lines_))
    with pytest.raises(DataError, match=r"row 5 \(line 7\), .*not finite"):
        read_candles(path)
    assert len(read_candles(path, on_bad="drop")[0]) == len(truth) - 1
