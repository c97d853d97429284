"""Quality: each kind of damage is found, counted and placed, and a healthy market is called healthy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import Candles, simulate
from candelabra.candles.quality import FATAL, inspect
from candelabra.candles.raw import NO_TIME, RawCandles
from candelabra.sources import read_candles

HOUR = 3_600_000


@pytest.fixture(scope="module")
def healthy() -> Candles:
    return simulate(bars=3000, seed=11).candles


def damaged(candles: Candles, **changes: tuple[int, float]) -> RawCandles:
    """Raw columns with single values changed: name=(row, value)."""
    columns = {}
    for name, (row, value) in changes.items():
        columns[name] = getattr(candles, name).copy()
        columns[name][row] = value
    return replace(RawCandles.of(candles), **columns)


def test_a_healthy_market_is_good(healthy: Candles) -> None:
    report = inspect(healthy)
    assert (report.verdict, report.findings) == ("good", ())
    assert sum(m.present for m in report.coverage) == sum(m.expected for m in report.coverage) == 3000


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("not finite", {"close": (7, np.nan)}),
        ("not finite", {"volume": (7, np.inf)}),
        ("broken high/low law", {"high": (7, 1.0)}),
        ("broken high/low law", {"volume": (7, -1.0)}),
        ("broken high/low law", {"low": (7, 0.0)}),
        ("off grid", {"open_time": (7, 1_577_836_800_000 + 7 * HOUR + 60_000)}),
        ("no time", {"open_time": (7, NO_TIME)}),
        ("conflicting duplicate", {"open_time": (7, 1_577_836_800_000 + 6 * HOUR)}),
        ("disorder", {"open_time": (7, 1_577_836_800_000 - 5 * HOUR)}),
    ],
)
def test_one_damaged_value_makes_a_series_unusable_and_is_named(healthy: Candles, kind: str, changes: dict[str, tuple[int, float]]) -> None:
    report = inspect(damaged(healthy, **changes))
    finding = next(f for f in report.findings if f.kind == kind)
    assert report.verdict == "unusable"
    assert finding.fatal
    assert finding.count == (2 if kind == "conflicting duplicate" else 1)
    assert finding.rows[-1] == 7


@given(st.sets(st.integers(1, 2998), max_size=60))
def test_absent_bars_are_counted_exactly_and_by_month(removed: set[int]) -> None:
    candles = simulate(bars=3000, seed=11).candles
    report = inspect(candles.rows(np.setdiff1d(np.arange(3000), list(removed))))
    assert report.count("gap") == len(removed)
    assert sum(m.expected - m.present for m in report.coverage) == len(removed)
    assert report.verdict == ("usable with notes" if removed else "good")


def test_exact_repeats_are_a_note_and_conflicts_are_fatal(healthy: Candles) -> None:
    raw = RawCandles.of(healthy)
    repeated = raw.rows(np.r_[0:10, 9, 9, 10:3000])
    report = inspect(repeated)
    assert report.count("identical duplicate") == 2
    assert report.verdict == "usable with notes"


def test_a_bad_tick_is_a_spike_and_a_crash_is_not(healthy: Candles) -> None:
    row = 1500
    wick = damaged(healthy, low=(row, float(healthy.low[row]) / 500))
    assert inspect(wick).count("spike") == 1
    scale = np.where(np.arange(3000) >= row, 0.5, 1.0)
    crash = replace(RawCandles.of(healthy), **{n: getattr(healthy, n) * scale for n in ("open", "high", "low", "close")})
    assert inspect(crash).count("spike") == 0
    tick = replace(
        RawCandles.of(healthy),
        **{n: np.where(np.arange(3000) == row, 2.0, 1.0) * getattr(healthy, n) for n in ("open", "high", "low", "close")},
    )
    assert inspect(tick).count("spike") == 1


def test_constant_prices_are_unusable_and_a_frozen_stretch_is_a_note(healthy: Candles) -> None:
    flat = Candles.of("A/B", "1h", np.arange(200) * HOUR, *[np.full(200, 5.0)] * 4, np.zeros(200))
    assert inspect(flat).verdict == "unusable"
    assert inspect(flat).count("constant") == 200
    stuck = {n: getattr(healthy, n).copy() for n in ("open", "high", "low", "close")}
    for column in stuck.values():
        column[100:180] = healthy.close[99]
    report = inspect(replace(RawCandles.of(healthy), **stuck))
    assert report.count("frozen price") == 80
    assert report.verdict != "unusable" or report.count("broken high/low law")


def test_zero_volume_is_counted(healthy: Candles) -> None:
    assert inspect(damaged(healthy, volume=(3, 0.0))).count("zero volume") == 1


def test_a_random_walk_is_suspected_and_a_market_is_not(healthy: Candles) -> None:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 3000)))
    open_ = np.append(100, close[:-1])
    walk = Candles.of(
        "A/B",
        "1h",
        np.arange(3000) * HOUR,
        open_,
        np.maximum(open_, close) * 1.001,
        np.minimum(open_, close) * 0.999,
        close,
        rng.random(3000),
    )
    assert inspect(walk).count("no volatility clustering") == 1
    assert inspect(healthy).count("no volatility clustering") == 0


def test_a_report_is_json_and_nothing_is_unusable() -> None:
    empty = inspect(Candles.of("A/B", "1h", [], [], [], [], [], []))
    assert empty.verdict == "unusable"
    report = inspect(simulate(bars=10).candles.rows(np.array([0, 4, 9])))
    assert json.loads(json.dumps(report.as_dict()))["findings"][0]["kind"] == "gap"
    assert "gap" not in FATAL


def test_real_candles_of_many_markets_are_usable(ohlcv: Path) -> None:
    reports = {c.symbol: inspect(c) for c in read_candles(ohlcv / "binance_*_1h.parquet")}
    assert len(reports) == 6
    assert {r.verdict for r in reports.values()} == {"usable with notes"}
    assert reports["BTC/USDT"].count("gap") == 122
    assert reports["BTC/USDT"].count("zero volume") == 3
    link = next(f for f in reports["LINK/USDT"].findings if f.kind == "spike")
    assert link.first_time.startswith("2020-03-12")  # low 0.0001 against 3: a true bad tick of the exchange
    assert all(r.count("no volatility clustering") == 0 for r in reports.values())
