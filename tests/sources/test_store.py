"""The store keeps what was fetched: what is read is what was written, at any timeframe, and nothing is rewritten in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles import Candles, Timeframe, resample, simulate
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.sources import read_candles, series
from candelabra.sources.export import export_candles
from candelabra.sources.store import MARKER, Hole, Store

MINUTE = 60_000
END_OF_JANUARY = 1_580_515_200_000


def market(bars: int, start_ms: int = END_OF_JANUARY - 20 * MINUTE, seed: int = 3) -> Candles:
    """Minutes with prices of two decimals, across the end of a month."""
    made = simulate("BTC/USDT", "1m", bars=bars, seed=seed).candles
    prices = [np.round(v, 2) for v in made.values()]
    return Candles.of("BTC/USDT", "1m", start_ms + MINUTE * np.arange(bars), *prices)


def other(candles: Candles, rows: list[int], factor: float = 1.5) -> Candles:
    """The same bars, some of them with other values."""
    values = [v.copy() for v in candles.values()]
    for column in values:
        column[rows] = np.round(column[rows] * factor, 2)
    return Candles.of(candles.symbol, candles.timeframe, candles.open_time, *values)


def same(got: Candles, wanted: Candles) -> bool:
    facts = ("symbol", "timeframe", "source", "span", "simulated", "fingerprint")
    return all(getattr(got, name) == getattr(wanted, name) for name in facts)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def put(store: Store, candles: Candles, source: str = "test", fetched_ms: int = 1, **more: object) -> series.WriteReport:
    return store.write(candles, exchange="binance", source=source, fetched_ms=fetched_ms, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("bars", [1, 40, 3000])
def test_what_is_written_is_read_back_equal_from_tail_and_month_files(store: Store, bars: int) -> None:
    candles = market(bars)
    assert put(store, candles) == series.WriteReport(added=bars)
    assert same(store.read("BTC/USDT", "1m"), candles)
    store.compact()
    assert same(Store.open(store.root).read("BTC/USDT", "1m", exchange="binance"), candles)
    folder = store.root / "binance" / "BTC-USDT" / "1m"
    months = ["2020-01"] if bars == 1 else ["2020-01", "2020-02"]
    assert sorted(p.stem for p in folder.glob("*.parquet")) == months
    assert put(store, candles) == series.WriteReport(unchanged=bars)


@given(data=st.data())
@settings(max_examples=40)
def test_any_order_of_writes_gives_the_last_value_of_each_bar_and_a_record_of_all_others(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """The store against a dictionary: values, sources, coverage, revisions, holes repaired; folds happen every few bars."""
    store = Store.create(tmp_path_factory.mktemp("store") / "s")
    base = market(60)
    values: dict[int, tuple[float, ...]] = {}
    sources: dict[int, str] = {}
    covered: set[int] = set()
    revised: list[tuple[int, str, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "_TAIL_BARS", data.draw(st.sampled_from([0, 3, 10, 1000])))
        for step in range(data.draw(st.integers(1, 6))):
            first = data.draw(st.integers(0, 58))
            last = data.draw(st.integers(first + 1, min(60, first + data.draw(st.sampled_from([3, 60])))))
            there = sorted(data.draw(st.sets(st.integers(first, last - 1), min_size=1)))
            changed = [k for k in there if data.draw(st.sampled_from([False, False, True]))]
            piece = other(base, changed, 1.0 + step / 8).rows(np.array(there))
            span = (int(base.open_time[first]), int(base.close_time[last - 1]))
            columns = (piece.open_time, *piece.values())
            report = put(store, Candles.of("BTC/USDT", "1m", *columns, span=span), f"source {step}", step)
            counts = {"added": 0, "unchanged": 0, "revised": 0, "repaired": 0}
            for row, time in enumerate(piece.open_time.tolist()):
                new = tuple(float(v[row]) for v in piece.values())
                kind = "added" if time not in values else "unchanged" if values[time] == new else "revised"
                counts[kind] += 1
                counts["repaired"] += kind == "added" and time in covered
                if kind == "revised":
                    revised.append((time, sources[time], f"source {step}"))
                if kind != "unchanged":
                    values[time], sources[time] = new, f"source {step}"
            for time in range(*span, MINUTE):
                if time not in covered:
                    sources.setdefault(time, f"source {step}")
                covered.add(time)
            assert report == series.WriteReport(**counts)
            if data.draw(st.booleans()):
                store.compact()
            if data.draw(st.booleans()):
                store = Store.open(store.root)
    got = store.read("BTC/USDT", "1m")
    assert dict(zip(got.open_time.tolist(), zip(*(v.tolist() for v in got.values()), strict=True), strict=True)) == values
    assert [(r.open_time_ms, r.old_source, r.source) for r in store.revisions("BTC/USDT", "1m")] == revised
    told = {t: f.source for f in store.provenance("BTC/USDT", "1m") for t in range(f.start_ms, f.end_ms, MINUTE)}
    assert told.keys() == covered
    assert {t: told[t] for t in values} == {t: sources[t] for t in values}
    whole = (int(base.open_time[0]), int(base.close_time[-1]))
    not_fetched = {t for a, b in store.spans_not_fetched("BTC/USDT", "1m", *whole) for t in range(a, b, MINUTE)}
    assert not_fetched == {*range(*whole, MINUTE)} - covered
    holes = store.gaps("BTC/USDT", "1m", *whole)
    absent = {t: h.kind for h in holes if h.kind != "repaired" for t in range(h.start_ms, h.end_ms, MINUTE)}
    assert absent == {t: "unknown" if t in covered else "not fetched" for t in range(*whole, MINUTE) if t not in values}
    assert store.verify() == []


def test_a_revision_keeps_both_values_the_sources_and_the_time(store: Store) -> None:
    candles = market(30)
    put(store, candles, "first", 100)
    changed = other(candles, [4, 25])
    assert put(store, changed, "second", 200) == series.WriteReport(unchanged=28, revised=2)
    assert same(store.read("BTC/USDT", "1m"), changed)
    for _ in range(2):
        one, two = store.revisions("BTC/USDT", "1m")
        assert (one.open_time_ms, two.open_time_ms) == (candles.open_time[4], candles.open_time[25])
        assert (one.old[3], one.new[3]) == (candles.close[4], changed.close[4])
        assert (one.old_source, one.source, one.noted_ms) == ("first", "second", 200)
        store.compact()
    assert same(store.read("BTC/USDT", "1m"), changed)
    stretches = [(f.source, f.first_ms) for f in store.provenance("BTC/USDT", "1m")]
    assert stretches == [("first", 100), ("second", 200), ("first", 100), ("second", 200), ("first", 100)]


@given(cut=st.integers(1, 599), hole=st.integers(0, 590), length=st.integers(0, 200), frame=st.sampled_from(["3m", "1h", "4h"]))
def test_a_coarse_read_is_the_resampled_fine_read_for_every_range(
    tmp_path_factory: pytest.TempPathFactory, cut: int, hole: int, length: int, frame: str
) -> None:
    candles = market(600)
    kept = candles.rows(np.delete(np.arange(600), np.arange(hole, min(600, hole + length)))) if length < 590 else candles
    whole = Candles.of("BTC/USDT", "1m", kept.open_time, *kept.values(), span=candles.span)
    store = Store.create(tmp_path_factory.mktemp("store") / "s")
    put(store, whole)
    assert same(store.read("BTC/USDT", frame), resample(whole, frame))
    start, end = int(candles.open_time[min(cut, 400)]), int(candles.open_time[min(cut + 200, 599)])
    got = store.read("BTC/USDT", frame, start, end)
    wanted = resample(whole, frame).between(start, end)
    assert got.fingerprint == wanted.fingerprint


def test_a_coarse_bar_that_was_fetched_in_part_is_left_out(store: Store) -> None:
    candles = market(600, start_ms=END_OF_JANUARY)
    put(store, candles.rows(slice(0, 100)))
    put(store, candles.rows(slice(150, 600)))
    hours = store.read("BTC/USDT", "1h")
    assert ((hours.open_time - END_OF_JANUARY) // 3_600_000).tolist() == [0, 3, 4, 5, 6, 7, 8, 9]
    assert hours.missing.sum() == 0
    (hole,) = store.gaps("BTC/USDT", "1m")
    assert (hole.kind, hole.end_ms - hole.start_ms) == ("not fetched", 50 * MINUTE)


def test_the_finest_source_that_is_complete_is_preferred(store: Store) -> None:
    minutes = market(600, start_ms=END_OF_JANUARY)
    hours = Candles.of("BTC/USDT", "1h", END_OF_JANUARY + 3_600_000 * np.arange(10), *[np.arange(1.0, 11.0)] * 5)
    put(store, hours)
    assert store.read("BTC/USDT", "2h").source == Timeframe("1h")
    put(store, minutes.rows(slice(180, 480)))
    assert store.read("BTC/USDT", "1h").source == Timeframe("1h"), "the minutes do not reach as far"
    inside = store.read("BTC/USDT", "1h", END_OF_JANUARY + 3 * 3_600_000, END_OF_JANUARY + 8 * 3_600_000)
    assert inside.source == Timeframe("1m")
    put(store, minutes)
    assert same(store.read("BTC/USDT", "1h"), resample(minutes, "1h"))
    assert not any(p.parent.name == "2h" for p in store.root.rglob("*")), "derived series are never stored"


def test_four_absences_and_what_was_repaired_are_told_apart(store: Store) -> None:
    candles = market(60, start_ms=0)

    def stretch(first: int, last: int) -> tuple[int, int]:
        return first * MINUTE, last * MINUTE

    rows = np.delete(np.arange(50), np.r_[5:10, 15:20, 25:30, 32:34])
    kept = Candles.of("BTC/USDT", "1m", candles.open_time[rows], *(v[rows] for v in candles.values()), span=stretch(0, 50))
    told = [Hole(*stretch(5, 10), "exchange gap"), Hole(*stretch(15, 20), "no trade", "the exchange", 7)]
    put(store, kept, fetched_ms=50, holes=told)
    assert put(store, candles.rows(slice(26, 28)), "another", 60).repaired == 2
    found = store.gaps("BTC/USDT", "1m", *stretch(0, 60))
    assert [(h.kind, h.start_ms // MINUTE, h.end_ms // MINUTE, h.source, h.noted_ms) for h in found] == [
        ("exchange gap", 5, 10, "test", 50),
        ("no trade", 15, 20, "the exchange", 7),
        ("unknown", 25, 26, "", 0),
        ("repaired", 26, 28, "another", 60),
        ("unknown", 28, 30, "", 0),
        ("unknown", 32, 34, "", 0),
        ("not fetched", 50, 60, "", 0),
    ]
    store.record("BTC/USDT", "1m", *stretch(50, 55), exchange="binance", source="asked", holes=[Hole(*stretch(50, 55), "no trade")])
    assert [h.kind for h in store.gaps("BTC/USDT", "1m", *stretch(45, 60))] == ["no trade", "not fetched"]
    assert store.spans_not_fetched("BTC/USDT", "1m", *stretch(40, 60)) == [stretch(55, 60)]
    assert store.spans_not_fetched("ETH/USDT", "1m", 0, 5) == [(0, 5)]


def test_a_market_that_skips_every_other_minute_needs_one_record_of_it(store: Store) -> None:
    candles = market(400, start_ms=0)
    kept = Candles.of("BTC/USDT", "1m", candles.open_time[::2], *(v[::2] for v in candles.values()), span=candles.span)
    holes = [Hole(MINUTE * k, MINUTE * (k + 1), "no trade") for k in range(1, 400, 2) if k != 201]
    put(store, kept, fetched_ms=5, holes=holes)
    found = store.gaps("BTC/USDT", "1m")
    assert {(h.start_ms, h.kind) for h in found} == {(MINUTE * k, "unknown" if k == 201 else "no trade") for k in range(1, 400, 2)}
    assert len(store.one("BTC/USDT", "1m").look().tail.ledger.holes) == 2


def test_writing_nothing_begins_no_series(store: Store) -> None:
    assert put(store, market(5).rows(slice(0, 0))) == series.WriteReport()
    assert store.series() == []


@pytest.mark.parametrize(
    ("hole", "message"),
    [(Hole(0, MINUTE, "repaired"), "is told as 'repaired'"), (Hole(0, 90 * MINUTE, "no trade"), "does not lie inside what was fetched")],
)
def test_a_hole_that_cannot_be_is_refused(store: Store, hole: Hole, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        put(store, market(60, start_ms=0), holes=[hole])


def test_candles_that_were_made_of_others_are_not_stored(store: Store) -> None:
    with pytest.raises(UsageError, match=r"made of 1m bars: a store keeps what was fetched"):
        put(store, resample(market(600), "1h"))


def test_simulated_and_real_candles_do_not_mix(store: Store) -> None:
    fake = simulate("BTC/USDT", "1m", bars=100, seed=1).candles
    put(store, market(30))
    with pytest.raises(DataError, match="the store holds real candles, and these are of a simulated market"):
        put(store, fake)
    store.write(fake, exchange="simulated", source="a seed")
    assert store.read("BTC/USDT", "1m", exchange="simulated").simulated
    assert not store.read("BTC/USDT", "1m", exchange="binance").simulated
    with pytest.raises(UsageError, match="is stored from binance, simulated: prices differ by exchange"):
        store.read("BTC/USDT", "1m")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.read("ETH/USDT", "1m"), r"no candles of ETH/USDT are stored.*did you mean \"BTC/USDT\"|known: BTC/USDT"),
        (lambda s: s.read("BTC/USDT", "30s"), r"from which 30s can be made: there are BTC/USDT 1m of binance"),
        (lambda s: s.gaps("BTC/USDT", "1h"), r"no candles of BTC/USDT"),
        (lambda s: s.write(market(3), exchange="../x", source="x"), "cannot name an exchange"),
        (lambda s: s.write(market(3), exchange="x", source=" "), "source is empty"),
        (lambda s: s.record("BTC/USDT", "1m", 5, 10, exchange="binance", source="x"), "no stretch of whole 1m bars"),
        (lambda s: s.record("X/Y", "1m", 0, MINUTE, exchange="binance", source="x"), "nothing of X/Y 1m of binance is stored yet"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_way_out(store: Store, call: object, message: str) -> None:
    put(store, market(30))
    with pytest.raises(UsageError, match=message):
        call(store)  # type: ignore[operator]


def test_only_a_store_is_opened_and_only_an_empty_folder_becomes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a store"):
        Store.open(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="has other things in it"):
        Store.create(tmp_path)
    root = Store.create(tmp_path / "s").root
    assert Store.create(root) == Store.open(root)
    (root / MARKER).write_text('{"format": 99}')
    with pytest.raises(DataError, match="has format 99, this version reads 1"):
        Store.open(root)
    (root / MARKER).write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        Store.open(root)


@pytest.mark.parametrize("symbol", ["BTC/USDT:USDT-240628", "币安人生/USDT", "../../x", "A-B/C", "A/B-C", "1000$/x y", ".hidden"])
def test_every_symbol_has_a_folder_of_its_own_inside_the_store(store: Store, symbol: str) -> None:
    c = market(5)
    store.write(Candles.of(symbol, "1m", c.open_time, *c.values()), exchange="binance", source="x")
    (found,) = store.series()
    assert (found.symbol, found.folder.parent.parent) == (symbol, store.root / "binance")
    assert len(store.read(symbol, "1m")) == 5


def test_other_programs_read_the_month_files_in_place(store: Store) -> None:
    candles = market(3000)
    put(store, candles)
    frame = pl.read_parquet(store.root / "binance" / "BTC-USDT" / "1m" / "2020-02.parquet")
    assert frame["close"].cast(pl.Float64).to_list() == candles.close[20:].tolist()
    assert read_candles(store.root / "binance" / "BTC-USDT" / "1m" / "2020-02.parquet")[0].symbol == "BTC/USDT"


@pytest.mark.parametrize("name", ["out.parquet", "BTCUSDT_1h.csv"])
def test_an_export_is_read_back_equal(store: Store, tmp_path: Path, name: str) -> None:
    put(store, market(3000))
    hours = store.read("BTC/USDT", "1h")
    got = read_candles(export_candles(hours, tmp_path / name), symbol="BTC/USDT")[0]
    assert all((a == b).all() for a, b in zip((got.open_time, *got.values()), (hours.open_time, *hours.values()), strict=True))
    with pytest.raises(UsageError, match="ends in neither"):
        export_candles(hours, tmp_path / "out.json")


def test_a_second_writer_is_refused_within_a_second_and_told_who_writes_while_readers_go_on(store: Store) -> None:
    import time

    put(store, market(30))
    held = store.one("BTC/USDT", "1m").folder
    script = f"""
import sys
from pathlib import Path
from candelabra.sources.lock import writing
with writing(Path({str(held)!r}), "x"):
    print("held", flush=True)
    sys.stdin.readline()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(SourceError, match=rf"BTC/USDT 1m of binance is being written by process {owner.pid} .*since 20") as refused:
            put(store, market(40))
        assert time.monotonic() - started < 1
        assert refused.value.retryable
        assert len(store.read("BTC/USDT", "1m")) == 30, "readers are not locked out"
        owner.kill()
    assert put(store, market(40)).added == 10, "a dead owner holds nothing"


def test_a_lock_is_not_inherited_by_a_forked_child(tmp_path: Path) -> None:
    script = f"""
import os, signal, time
from pathlib import Path
from candelabra.sources.lock import writing
with writing(Path({str(tmp_path)!r}), "x"):
    child = os.fork()
    if not child:
        time.sleep(30)
        os._exit(0)
with writing(Path({str(tmp_path)!r}), "x", patience_s=0.3):
    print("again")
os.kill(child, signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "again\n", done.stderr


def test_a_series_put_in_the_place_of_another_is_noticed(store: Store) -> None:
    put(store, market(3000))
    folder = store.one("BTC/USDT", "1m").folder
    (store.root / "binance" / "ETH-USDT").mkdir()
    folder.rename(store.root / "binance" / "ETH-USDT" / "1m")
    with pytest.raises(DataError, match=r"should hold ETH/USDT 1m of binance, and its manifest is of BTC/USDT"):
        store.read("ETH/USDT", "1m")


def test_months_and_weeks_and_sparse_series_are_kept_too(store: Store) -> None:
    for frame, times in (
        ("1M", ["2019-12", "2020-01", "2020-03"]),
        ("1w", ["2020-01-06", "2020-01-13"]),
        ("1d", ["1969-12-31", "1970-01-01"]),
    ):
        ms = np.array(times, "datetime64[ms]").astype(np.int64)
        candles = Candles.of("BTC/USDT", frame, ms, *[np.arange(1.0, len(ms) + 1)] * 5)
        put(store, candles)
        store.compact()
        assert same(store.one("BTC/USDT", frame) and store.read("BTC/USDT", frame), candles)


def test_a_summary_counts_each_bar_once(store: Store) -> None:
    candles = market(3000)
    put(store, candles)
    put(store, other(candles, [2990]))
    put(store, market(3005))
    put(store, market(3007))
    summary = store.one("BTC/USDT", "1m").summary()
    assert (summary.bars, summary.tail, summary.revisions) == (3007, 2, 2)
    assert (summary.start_ms, summary.end_ms) == (candles.open_time[0], candles.open_time[0] + 3007 * MINUTE)


@pytest.mark.parametrize("when", ["read_tail", "manifest", "month", "sequence"])
@pytest.mark.parametrize("begun", [False, True], ids=["first fold", "later fold"])
def test_a_fold_in_the_middle_of_a_read_hides_no_bar(store: Store, when: str, begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, market(30))
    if begun:
        store.compact()
        put(store, market(60))
    before = len(store.read("BTC/USDT", "1m"))
    one, place = store.one("BTC/USDT", "1m"), series if when in ("sequence", "read_tail") else series.Series
    real, turns = getattr(place, when), [0]

    def after_a_fold(*arguments: object) -> object:
        monkeypatch.setattr(place, when, real)
        turns[0] += 1
        put(store, market(before + turns[0]))
        store.compact()
        if turns[0] < 3:
            monkeypatch.setattr(place, when, after_a_fold)
        return real(*arguments)

    monkeypatch.setattr(place, when, after_a_fold)
    got = one.snapshot(0, 1 << 50)
    assert turns[0] or when == "month"
    assert len(got.bars) >= before
    assert got.bars.open_time.tolist() == market(len(got.bars)).open_time.tolist()


def test_the_manifest_is_plain_json_with_hash_rows_and_range(store: Store) -> None:
    import hashlib

    put(store, market(3000))
    folder = store.one("BTC/USDT", "1m").folder
    told = json.loads((folder / "manifest.json").read_text())["files"]["2020-01"]
    assert told["sha256"] == hashlib.sha256((folder / "2020-01.parquet").read_bytes()).hexdigest()
    assert (told["rows"], told["first_ms"], told["last_ms"]) == (20, END_OF_JANUARY - 20 * MINUTE, END_OF_JANUARY - MINUTE)
