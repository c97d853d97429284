"""Importing: the books always balance, every rejected row is listed where it stands, order and repetition change nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import Candles, resample, simulate
from candelabra.errors import UsageError
from candelabra.sources import write_candles
from candelabra.sources.import_report import ImportReport
from candelabra.sources.importing import Wishes, import_files
from candelabra.sources.layout import Told
from candelabra.sources.store import Store
from candelabra.testing import FORM_EXAMPLES, check_import, written

MINUTE = 60_000
TRUTH = simulate("BTC/USDT", "1h", bars=400, seed=9).candles
HEADER = "open_time,open,high,low,close,volume"


def lines(candles: Candles) -> list[str]:
    return [",".join(map(str, row)) for row in zip(candles.open_time, *(map(float, v) for v in candles.values()), strict=True)]


def placed(folder: Path, form: str, candles: Candles) -> Path:
    name, content = written(form, candles)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


@pytest.mark.parametrize("form", FORM_EXAMPLES)
def test_each_form_comes_into_the_store_and_out_again(form: str, tmp_path: Path, store: Store) -> None:
    path = placed(tmp_path, form, TRUTH)
    trades = "trades" in form
    report = import_files(path, store, Wishes(exchange="test", timeframe="1h" if trades else None))
    assert report.clean
    assert report.books.balanced
    symbol = report.series[0].symbol
    got = store.read(symbol, "1h")
    wanted = TRUTH.rows(slice(0, -1)) if trades else TRUTH
    np.testing.assert_array_equal(got.open_time, wanted.open_time)
    np.testing.assert_allclose(got.close, wanted.close)
    assert report.series[0].added == len(wanted)


CELLS = st.sampled_from(["", "x", "nan", "-1", "0", "1e400", "2020-01-01", "9" * 25, "12,5", '"', "1.5"])


@st.composite
def spoiled(draw: st.DrawFn) -> list[str]:
    """Lines of a file with rows doubled, moved, cut, emptied and cells replaced."""
    rows = lines(TRUTH.rows(slice(0, draw(st.integers(5, 60)))))
    for _ in range(draw(st.integers(0, 12))):
        at = draw(st.integers(0, len(rows) - 1))
        kind = draw(st.sampled_from(["double", "move", "cut", "empty", "cell", "drop", "long"]))
        if kind == "double":
            rows.insert(draw(st.integers(0, len(rows))), rows[at])
        elif kind == "move":
            rows.insert(draw(st.integers(0, len(rows) - 1)), rows.pop(at))
        elif kind == "cut":
            rows[at] = rows[at][: draw(st.integers(0, len(rows[at])))]
        elif kind == "empty":
            rows[at] = ""
        elif kind == "long":
            rows[at] += ",7"
        elif kind == "drop" and len(rows) > 3:
            rows.pop(at)
        else:
            cells = rows[at].split(",")
            cells[draw(st.integers(0, len(cells) - 1))] = draw(CELLS)
            rows[at] = ",".join(cells)
    return rows


@given(rows=spoiled())
def test_every_line_is_kept_rejected_or_left_out_and_the_books_say_so(rows: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("books")
    path = folder / "BTCUSDT_1h.csv"
    path.write_text("\n".join([HEADER, *rows, ""]))
    listed = folder / "rejected.jsonl"
    report = import_files(path, None, Wishes(exchange="test", most_rejected=1.0), rejected_file=listed)
    if report.refused:  # a quote can swallow the lines after it, a cell make it no table: then all of it is refused by name
        assert report.books.rows == 0
        return
    assert report.books.balanced
    if not any('"' in row for row in rows):
        assert report.books.rows == len(rows)
    told = [json.loads(line) for line in listed.read_text().splitlines()] if listed.exists() else []
    assert sum(one.get("rows", 1) for one in told) == report.books.rejected
    for one in told:
        if "line" in one and "values" in one and '"' not in "".join(rows):
            cells = rows[one["line"] - 2].split(",")
            assert np.datetime64(int(float(cells[0])), "ms").astype("datetime64[D]").astype(str) == one["time"][:10]
    check_import(path.name, path.read_bytes(), most_rejected=1.0)


def test_rejected_rows_are_listed_by_file_line_and_reason(tmp_path: Path, store: Store) -> None:
    rows = lines(TRUTH)
    rows[10] = rows[10].replace(",", ",x", 1)  # line 12
    rows[20] = rows[20].rpartition(",")[0]
    cells = rows[30].split(",")
    rows[30] = ",".join([cells[0], cells[1], "0.5", *cells[3:]])
    rows[40] = "soon," + rows[40].partition(",")[2]
    rows[50] = str(int(TRUTH.open_time[50]) + 7) + "," + rows[50].partition(",")[2]
    rows.insert(60, rows[60])
    rows.insert(70, "")
    rows.insert(80, rows[80].replace(",", ",9", 1))
    path, listed = tmp_path / "BTCUSDT_1h.csv", tmp_path / "no.jsonl"
    path.write_text("\n".join([HEADER, *rows, ""]))
    report = import_files(path, store, Wishes(exchange="test", most_rejected=0.05), rejected_file=listed)
    assert report.books.left_out == {"blank line": 1, "identical duplicate": 1}
    told = sorted((one["line"], one["kind"]) for one in map(json.loads, listed.read_text().splitlines()))
    assert told == [
        (12, "not finite"), (22, "not a row of this table"), (32, "broken high/low law"), (42, "no time"), (52, "off grid"),
        (82, "broken high/low law"), (83, "conflicting duplicate"),
    ]  # fmt: skip
    reasons = {one.line: one.reason for one in report.rejected}
    assert "'x" in reasons[12]
    assert "5 cells where 6 are needed" in reasons[22]
    assert "'soon', which is no time" in reasons[42]
    gaps = store.gaps("BTC/USDT", "1h")
    assert {g.kind for g in gaps} == {"unknown"}


def test_a_series_with_too_many_bad_rows_is_refused_unless_that_is_allowed(tmp_path: Path, store: Store) -> None:
    rows = lines(TRUTH)
    rows[5:15] = [row.replace(",", ",-", 1) for row in rows[5:15]]
    path = tmp_path / "BTCUSDT_1h.csv"
    path.write_text("\n".join([HEADER, *rows]))
    report = import_files(path, store, Wishes(exchange="test"))
    assert "10 of 400 rows are no candles" in report.series[0].refused
    assert (report.books.kept, report.books.rejected) == (0, 400)
    assert report.kinds == {"broken high/low law": 10, "series refused": 390}
    assert store.series() == []
    report = import_files(path, store, Wishes(exchange="test", most_rejected=0.03))
    assert (report.books.kept, report.books.rejected, report.series[0].added) == (390, 10, 390)


def test_a_price_that_stands_still_is_refused(tmp_path: Path, store: Store) -> None:
    still = Candles.of("BTC/USDT", "1h", TRUTH.open_time, *[np.full(400, 12.0)] * 4, TRUTH.volume)
    report = import_files(placed(tmp_path, "plain", still), store, Wishes(exchange="test"))
    assert "does not move for 399 of 400 bars" in report.series[0].refused


@given(seed=st.integers(0, 10_000), files=st.integers(1, 5), most=st.sampled_from([40, 150, 10**6]))
def test_order_overlap_and_memory_change_nothing(seed: int, files: int, most: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rows dealt to files at random, some to several, in any order, with hardly any memory: the same candles."""
    random = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("dealt")
    truth = simulate("BTC/USDT", "4h", bars=400, seed=3).candles
    rows = np.array(lines(truth))
    owner = random.integers(0, files, len(rows))
    extra = random.random((files, len(rows))) < 0.1
    total = 0
    for k in range(files):
        own = random.permutation(rows[(owner == k) | extra[k]])
        total += len(own)
        (folder / f"BTCUSDT_4h_{k}.csv").write_text("\n".join([HEADER, *own]))
    store = Store.create(folder / "store")
    report = import_files(str(folder / "*.csv"), store, Wishes(exchange="test", rows_in_memory=most))
    assert report.books.rows == total
    assert report.books.kept == 400
    assert report.books.left_out.get("identical duplicate", 0) == total - 400
    assert store.read("BTC/USDT", "4h").fingerprint == truth.fingerprint


def test_a_conflict_between_files_rejects_both_rows(tmp_path: Path, store: Store) -> None:
    for name, factor in (("a", 1.0), ("b", 1.001)):
        scaled = Candles.of("BTC/USDT", "1h", TRUTH.open_time[:1] + 200 * 3_600_000 * 1, *([x * factor] for x in (1.0, 3.0, 0.5, 2.0, 5.0)))
        rows = lines(TRUTH.rows(slice(0, 200) if name == "a" else slice(201, 400)))
        (tmp_path / f"BTCUSDT_1h_{name}.csv").write_text("\n".join([HEADER, *rows, *lines(scaled)]))
    report = import_files(str(tmp_path / "*.csv"), store, Wishes(exchange="test"))
    assert report.kinds == {"conflicting duplicate": 2}
    assert report.books.kept == 399
    assert {one.file[-5] for one in report.rejected} == {"a", "b"}


def test_a_dry_run_stores_nothing_and_says_the_same(tmp_path: Path, store: Store) -> None:
    path = placed(tmp_path, "binance", TRUTH)
    shown = import_files(path, None, Wishes())
    assert not (tmp_path / "store" / "binance").exists()
    done = import_files(path, store, Wishes())
    assert (shown.books, shown.series[0].bars, shown.series[0].form) == (done.books, done.series[0].bars, done.series[0].form)
    assert shown.dry_run
    assert not done.dry_run


def test_the_same_import_again_is_known_or_changes_nothing(tmp_path: Path, store: Store) -> None:
    path = placed(tmp_path, "binance", TRUTH)
    first = import_files(path, store, Wishes())
    second = import_files(path, store, Wishes())
    assert second.series[0].before
    assert second.books == first.books
    third = import_files(path, store, Wishes(again=True))
    assert (third.series[0].added, third.series[0].unchanged) == (0, 400)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n", 1) + b"")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert not import_files(path, store, Wishes()).series[0].before  # the file may have changed: it is looked at again


def test_absent_bars_are_recorded_for_the_reason_the_form_tells(tmp_path: Path, store: Store) -> None:
    holed = TRUTH.rows(np.delete(np.arange(400), np.r_[100:110]))
    hole = (int(TRUTH.open_time[100]), int(TRUTH.open_time[110]))
    for form, symbol, kind in (
        ("binance", "BTC/USDT", "exchange gap"),
        ("kraken", "BTC/USDT", "no trade"),
        ("plain", "BTC/USDT", "unknown"),
    ):
        exchange = form
        import_files(placed(tmp_path, form, holed), store, Wishes(exchange=exchange))
        told = [(g.start_ms, g.end_ms, g.kind) for g in store.gaps(symbol, "1h", exchange=exchange)]
        assert told == [(*hole, kind)]


def test_time_between_files_was_not_fetched(tmp_path: Path, store: Store) -> None:
    for k, part in enumerate((slice(0, 100), slice(200, 400))):
        (tmp_path / f"BTCUSDT_1h_{k}.csv").write_text("\n".join([HEADER, *lines(TRUTH.rows(part))]))
    import_files(str(tmp_path / "*.csv"), store, Wishes(exchange="test"))
    (gap,) = store.gaps("BTC/USDT", "1h")
    assert (gap.kind, gap.start_ms, gap.end_ms) == ("not fetched", int(TRUTH.open_time[100]), int(TRUTH.open_time[200]))


def test_the_bar_that_is_forming_and_bars_of_the_future_are_kept_out(tmp_path: Path, store: Store) -> None:
    path = placed(tmp_path, "plain", TRUTH)
    now = int(TRUTH.open_time[399]) + 1
    report = import_files(path, store, Wishes(exchange="test"), now_ms=now)
    assert report.books.left_out == {"forming": 1}
    assert len(store.read("BTC/USDT", "1h")) == 399
    report = import_files(path, None, Wishes(exchange="test", most_rejected=0.5), now_ms=int(TRUTH.open_time[300]) + 1)
    assert (report.books.kept, report.books.left_out, report.kinds) == (300, {"forming": 1}, {"opens in the future": 99})


def test_files_of_two_timeframes_become_two_series(tmp_path: Path, store: Store) -> None:
    (tmp_path / "BTCUSDT_a.csv").write_text("\n".join([HEADER, *lines(TRUTH)]))
    days = resample(TRUTH, "1d")
    (tmp_path / "BTCUSDT_b.csv").write_text("\n".join([HEADER, *lines(days)]))
    report = import_files(str(tmp_path / "*.csv"), store, Wishes(exchange="test"))
    assert [(s.timeframe, s.bars) for s in report.series] == [("1h", 400), ("1d", len(days))]


def test_what_cannot_be_placed_is_refused_before_anything_is_stored(tmp_path: Path, store: Store) -> None:
    path = placed(tmp_path, "plain", TRUTH)
    with pytest.raises(UsageError, match="does not say which exchange"):
        import_files(path, store)
    trades = placed(tmp_path, "trades", TRUTH)
    with pytest.raises(UsageError, match="holds trades: name the bars"):
        import_files(trades, store, Wishes(exchange="test"))
    derived = write_candles(resample(TRUTH, "4h"), tmp_path / "BTCUSDT_4h.parquet")
    assert "made of 1h bars" in import_files(derived, store, Wishes(exchange="test")).refused[0]
    with pytest.raises(UsageError, match="between 0 and 1"):
        Wishes(most_rejected=3)
    assert store.series() == []


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path, store: Store) -> None:
    placed(tmp_path, "binance", TRUTH)
    (tmp_path / "ETHUSDT_1h.csv").write_text(HEADER + "\n2020-01-01,1.234.567,1,1,1,1\n")
    report = import_files([tmp_path / "ETHUSDT_1h.csv", next(tmp_path.glob("BTC*"))], store, Wishes(exchange="test"))
    assert "thousands" in report.refused[0]
    assert report.series[0].added == 400
    assert not report.clean


def test_a_simulated_market_stays_marked_in_the_store(tmp_path: Path, store: Store) -> None:
    path = write_candles(TRUTH, tmp_path / "BTCUSDT_1h.parquet")
    import_files(path, store, Wishes(exchange="simulated"))
    assert store.read("BTC/USDT", "1h").simulated


def test_trades_of_many_files_are_joined_before_bars_are_made(tmp_path: Path, store: Store) -> None:
    """A minute that two files share is one whole bar, and trades that both have count once."""
    minutes = simulate("BTC/USDT", "1m", bars=3000, seed=1).candles
    content = written("trades", minutes)[1].decode().splitlines()
    (tmp_path / "a_BTCUSDT.csv").write_text("\n".join(content[:6_003]))
    (tmp_path / "b_BTCUSDT.csv").write_text("\n".join([content[0], *content[5_900:]]))
    report = import_files(str(tmp_path / "*.csv"), store, Wishes(exchange="test", timeframe="1m", rows_in_memory=2_000))
    got = store.read("BTC/USDT", "1m")
    np.testing.assert_array_equal(got.open_time, minutes.open_time[:-1])
    np.testing.assert_allclose(got.volume, minutes.volume[:-1])
    np.testing.assert_allclose(got.high, minutes.high[:-1])
    assert report.books.left_out == {"identical duplicate": 103, "bar not whole": 4}


KILLED = """
import sys, time
from pathlib import Path
from candelabra.sources.importing import Wishes, import_files
from candelabra.sources.store import Store
print("begun", flush=True)
import_files(sys.argv[1], Store.create(sys.argv[2]), Wishes(exchange="test"))
print("done", flush=True)
"""


@pytest.mark.slow
def test_an_import_that_is_killed_goes_on_when_it_is_repeated(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    truths = {f"C{k}": simulate(f"C{k}/USDT", "1m", bars=40_000, seed=k).candles for k in range(6)}
    for coin, candles in truths.items():
        (data / f"{coin}USDT_1m.csv").write_text("\n".join([HEADER, *lines(candles)]))
    root = tmp_path / "store"
    for wait in (0.05, 0.2, 0.4, 0.8):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(data), str(root)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
    report = import_files(data, Store.create(root), Wishes(exchange="test"))
    assert report.clean
    for coin, candles in truths.items():
        assert Store.open(root).read(f"{coin}/USDT", "1m").fingerprint == candles.fingerprint


@pytest.mark.slow
def test_memory_is_bounded_by_what_may_be_held(tmp_path: Path) -> None:
    """Ten times the rows, the same peak: measured in processes of their own."""
    script = """
import re, sys
import candelabra.sources.importing as i, candelabra.sources.store as s
i.import_files(sys.argv[1], s.Store.create(sys.argv[2]), i.Wishes(exchange="test", rows_in_memory=20_000))
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
    peaks = []
    for bars in (30_000, 600_000):
        candles = simulate("BTC/USDT", "1m", bars=bars, seed=1).candles
        path = placed(tmp_path, "binance", candles)
        out = subprocess.run([sys.executable, "-c", script, path, tmp_path / f"s{bars}"], capture_output=True, text=True, check=True)
        peaks.append(int(out.stdout))
    assert peaks[1] < peaks[0] + 100  # MB; the rows are 36 MB as numbers and 90 in the file, and would be held several times


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    report: ImportReport = import_files(placed(tmp_path, "kaggle", TRUTH), None, Wishes(exchange="test"))
    told: Any = json.loads(json.dumps(report.as_dict()))
    assert told["books"]["rows"] == 400
    assert told["series"][0]["form"] == "kaggle"
    unused: Callable[..., Told] = Told
    assert unused().form is None


def test_trades_of_which_none_can_be_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-trades.csv"
    path.write_text("timestamp,id,side,price,amount\n1577836800000,1,s,x,2\n1577836800001,2,s,1,-2\n")
    report = import_files(path, None, Wishes(exchange="test", timeframe="1s", most_rejected=1.0))
    assert report.series[0].refused == "none of its 2 rows is a bar"
    assert report.books.rejected == 2
