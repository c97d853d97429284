"""Laws of resampling: closed bars only, nothing invented, the route does not matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import Candles, Timeframe, cascade, resample
from candelabra.errors import DataError, UsageError

MINUTE = 60_000
COARSE = ("5m", "15m", "1h", "4h", "1d")


def candles_at(bars: np.ndarray, seed: int = 0, frame: str = "1m") -> Candles:
    """Random lawful candles at the given running bar numbers."""
    rng = np.random.default_rng(seed)
    n = len(bars)
    open_, close = np.exp(rng.normal(0, 0.1, n)), np.exp(rng.normal(0, 0.1, n))
    high, low = np.maximum(open_, close) * (1 + rng.random(n)), np.minimum(open_, close) * rng.uniform(0.5, 1, n)
    volume = np.exp(rng.normal(0, 8, n)) * (rng.random(n) > 0.1)
    return Candles.of("SIM/USDT", frame, np.asarray(bars) * Timeframe(frame).milliseconds, open_, high, low, close, volume)


@st.composite
def gappy(draw: st.DrawFn) -> Candles:
    """Minutes with a random start and gaps short and long, some right at the edges."""
    start = draw(st.integers(0, 3000))
    runs = draw(st.lists(st.tuples(st.integers(1, 900), st.sampled_from([1, 2, 7, 40, 61, 300, 1500])), min_size=1, max_size=6))
    bars: list[np.ndarray] = []
    at = start
    for length, hole in runs:
        bars.append(np.arange(at, at + length))
        at += length + hole
    return candles_at(np.concatenate(bars), draw(st.integers(0, 2**32 - 1)))


def assert_same(a: Candles, b: Candles) -> None:
    """Rows, prices, missing and span equal to the bit; volume to 1e-15 relative."""
    assert (a.timeframe, a.source, a.span) == (b.timeframe, b.source, b.span)
    for name in ("open_time", "open", "high", "low", "close", "missing"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_allclose(a.volume, b.volume, rtol=1e-15, atol=0)


@given(gappy(), st.sampled_from([("5m", "1h"), ("15m", "1h"), ("1h", "4h"), ("1h", "1d"), ("5m", "1d"), ("4h", "1d"), ("3m", "12m")]))
def test_resampling_in_two_steps_equals_resampling_in_one(base: Candles, pair: tuple[str, str]) -> None:
    middle, coarse = pair
    assert_same(resample(resample(base, middle), coarse), resample(base, coarse))


def reference(base: Candles, frame: Timeframe) -> list[tuple[float, ...]]:
    """The same thing said slowly: a dictionary of rows per bar."""
    bars: dict[int, list[int]] = {}
    for row, t in enumerate(base.open_time):
        bars.setdefault(int(frame.floor(t)), []).append(row)
    out = []
    for t, rows in bars.items():
        end = int(frame.next(t))
        if t < base.open_time[0] or end > base.close_time[-1]:
            continue
        expected = (end - t) // base.timeframe.milliseconds
        volume = float(np.sum(base.volume[rows].astype(np.longdouble)))
        out.append((t, base.open[rows[0]], base.high[rows].max(), base.low[rows].min(), base.close[rows[-1]], volume, expected - len(rows)))
    return out


@given(gappy(), st.sampled_from(COARSE))
def test_every_bar_holds_first_open_extremes_last_close_total_volume_and_the_absent_count(base: Candles, frame: str) -> None:
    made = resample(base, frame)
    expected = np.array(reference(base, Timeframe(frame)), dtype=np.float64).reshape(-1, 7)
    got = np.column_stack([made.open_time, *made.values(), made.missing])
    np.testing.assert_array_equal(got[:, [0, 1, 2, 3, 4, 6]], expected[:, [0, 1, 2, 3, 4, 6]])
    np.testing.assert_allclose(got[:, 5], expected[:, 5], rtol=1e-15, atol=0)


@given(gappy(), st.sampled_from(COARSE), st.floats(0, 1))
def test_later_bars_change_no_bar_already_made(base: Candles, frame: str, share: float) -> None:
    cut = int(share * len(base))
    early, full = resample(base.rows(slice(0, cut)), frame), resample(base, frame)
    k = len(early)
    np.testing.assert_array_equal(early.open_time, full.open_time[:k])
    for a, b in zip((*early.values(), early.missing), (*full.values(), full.missing), strict=True):
        np.testing.assert_array_equal(a, b[:k])


@given(gappy(), st.sampled_from(COARSE))
def test_every_closed_bar_is_there_as_soon_as_a_later_base_bar_has_closed(base: Candles, frame: str) -> None:
    made = resample(base, frame)
    assert (made.close_time <= base.close_time[-1]).all()
    held = np.unique(Timeframe(frame).floor(base.open_time))
    closed = held[(Timeframe(frame).next(held) <= base.close_time[-1]) & (held >= base.open_time[0])]
    np.testing.assert_array_equal(made.open_time, closed)


@given(gappy())
def test_present_and_absent_minutes_add_up_to_the_length_of_the_bars(base: Candles) -> None:
    hours = resample(base, "1h")
    inside = np.isin(Timeframe("1h").floor(base.open_time), hours.open_time)
    assert int(inside.sum()) + int(hours.missing.sum()) == 60 * len(hours)
    np.testing.assert_allclose(hours.volume.sum(), base.volume[inside].sum(), rtol=1e-12)


def test_the_forming_bar_and_the_bar_the_data_begins_inside_have_no_row() -> None:
    hours = resample(candles_at(np.arange(30, 239)), "1h")
    assert hours.open_time.tolist() == [60 * MINUTE, 120 * MINUTE]
    assert len(resample(candles_at(np.arange(30, 240)), "1h")) == 3


def test_a_bar_without_any_base_bar_is_a_gap_and_counts_as_missing_one_level_up() -> None:
    base = candles_at(np.r_[0:60, 180:240])
    hours, four = resample(base, "1h"), resample(base, "4h")
    assert hours.open_time.tolist() == [0, 180 * MINUTE]
    assert len(hours.run_starts) == 2
    assert hours.missing.tolist() == [0, 0]
    assert four.missing.tolist() == [120]


def test_edges_that_fall_into_gaps_do_not_depend_on_the_route() -> None:
    base = candles_at(np.r_[30:40, 300:310, 395:400, 485:490])
    direct = resample(base, "4h")
    assert direct.open_time.tolist() == [240 * MINUTE]
    assert_same(resample(resample(base, "1h"), "4h"), direct)


def test_weeks_begin_on_monday_and_months_are_calendar_months() -> None:
    days = candles_at(np.arange(19_722, 19_722 + 100), frame="1d")  # from Saturday 2023-12-31 minus one
    weeks, months = resample(days, "1w"), resample(days, "1M")
    assert all(np.datetime64(int(t), "ms").astype("datetime64[D]").item().weekday() == 0 for t in weeks.open_time)
    assert [str(np.datetime64(int(t), "ms"))[:10] for t in months.open_time] == ["2024-01-01", "2024-02-01", "2024-03-01"]
    assert_same(resample(months, "3M"), resample(days, "3M"))
    with pytest.raises(UsageError, match="1M bars are not made of whole 1w bars"):
        resample(weeks, "1M")


def test_months_with_absent_days_count_them_by_any_route() -> None:
    days = candles_at(np.r_[19_723:19_730, 19_760:19_900], frame="1d")
    direct = resample(days, "3M")
    assert direct.missing[0] == 30
    assert_same(resample(resample(days, "1M"), "3M"), direct)


def test_cascade_equals_each_timeframe_made_alone() -> None:
    base = candles_at(np.delete(np.arange(17, 60_000), np.r_[400:1200, 5000:5003, 40_000:47_000]))
    made = cascade(base, ["1d", "5m", "1w", "1m", "1h", "4h", "15m"])
    assert list(made) == ["1d", "5m", "1w", "1m", "1h", "4h", "15m"]
    assert made["1m"] is base
    for name, candles in made.items():
        assert_same(candles, resample(base, name))


def test_finer_or_odd_timeframes_are_refused_with_the_way_out() -> None:
    hours = candles_at(np.arange(100), frame="1h")
    with pytest.raises(UsageError, match="ask for a longer timeframe, or load finer candles"):
        resample(hours, "5m")
    with pytest.raises(UsageError, match="ask for a multiple of 1h"):
        resample(hours, "90m")


def test_nothing_in_nothing_out() -> None:
    empty = candles_at(np.arange(0))
    assert len(resample(empty, "1h")) == 0
    assert len(resample(candles_at(np.arange(5)), "1h")) == 0


def test_a_span_that_does_not_hold_its_bars_is_refused() -> None:
    with pytest.raises(DataError, match="does not hold the bars"):
        Candles.of("SIM/USDT", "1m", [0, MINUTE], [1, 1], [1, 1], [1, 1], [1, 1], [1, 1], span=(0, MINUTE))


def test_real_minutes_make_the_exchanges_own_hours(ohlcv: Path) -> None:
    def read(name: str, frame: str) -> Candles:
        t = pq.read_table(ohlcv / f"{name}.parquet")
        columns = [t[c].to_numpy() for c in ("open", "high", "low", "close", "volume")]
        return Candles.of("BTC/USDT", frame, t["timestamp"].cast("int64").to_numpy(), *columns)

    minutes = read("binance_BTCUSDT_1m_2021", "1m")
    for year in (2022, 2023):
        minutes = minutes.append(read(f"binance_BTCUSDT_1m_{year}", "1m"))
    hours, truth = resample(minutes, "1h"), read("binance_BTCUSDT_1h", "1h").between(minutes.span[0], minutes.span[1])
    assert len(truth) == 26_266
    for name in ("open_time", "open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(hours, name), getattr(truth, name), err_msg=name)
    np.testing.assert_allclose(hours.volume, truth.volume, rtol=1e-15, atol=0)
    flagged = {str(np.datetime64(int(hours.open_time[i]), "ms"))[:13]: int(hours.missing[i]) for i in np.flatnonzero(hours.missing)}
    assert flagged == {
        "2021-02-11T03": 19,
        "2021-03-06T03": 30,
        "2021-04-20T04": 30,
        "2021-04-25T04": 59,
        "2021-04-25T08": 45,
        "2021-08-13T06": 30,
        "2023-03-24T12": 20,
    }
    made = cascade(minutes, ["5m", "1h", "4h", "1d", "1w", "1M"])
    for name, candles in made.items():
        assert_same(candles, resample(minutes, name))
