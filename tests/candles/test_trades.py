"""Bars made of trades, by the clock and by what was traded: against slow twins, whole bars only, none invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles.information import dollar_bars, volume_bars
from candelabra.candles.timeframe import Timeframe
from candelabra.candles.trades import Trades, trade_bars
from candelabra.errors import DataError, UsageError

DAY = 86_400_000


@st.composite
def trades(draw: st.DrawFn) -> Trades:
    n = draw(st.integers(1, 120))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    start = draw(st.sampled_from([0, 1, 700, DAY - 1500, DAY + 61_000]))
    time = start + np.cumsum(random.choice([0, 1, 400, 1000, 65_000], n))
    return Trades.of("BTC/USDT", time, np.round(random.uniform(1, 9, n), 2), np.round(random.uniform(0.1, 3, n), 1))


@given(given=trades(), frame=st.sampled_from(["1s", "5s", "1m", "1h"]))
def test_bars_equal_those_of_a_slow_twin(given: Trades, frame: str) -> None:
    step = Timeframe(frame).milliseconds
    buckets: dict[int, list[tuple[float, float]]] = {}
    for t, p, a in zip(given.time.tolist(), given.price.tolist(), given.amount.tolist(), strict=True):
        buckets.setdefault(t // step * step, []).append((p, a))
    first, last = int(given.time[0]), int(given.time[-1])
    begun = first // step * step
    del buckets[last // step * step]  # it may go on
    if begun % DAY and begun != first:
        buckets.pop(begun, None)  # it had begun
    if not buckets:
        with pytest.raises(DataError, match=r"no .* bar lies whole"):
            trade_bars(given, frame)
        return
    bars = trade_bars(given, frame)
    assert bars.open_time.tolist() == list(buckets)
    for k, inside in enumerate(buckets.values()):
        prices = [p for p, _ in inside]
        assert (bars.open[k], bars.high[k], bars.low[k], bars.close[k]) == (prices[0], max(prices), min(prices), prices[-1])
        assert bars.volume[k] == pytest.approx(sum(a for _, a in inside))


def test_a_span_that_is_known_keeps_the_bars_at_its_ends() -> None:
    few = Trades.of("BTC/USDT", [1_500, 2_100, 9_900], [1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert trade_bars(few, "1s").open_time.tolist() == [2_000]
    whole = trade_bars(few, "1s", span=(1_000, 10_000))
    assert whole.open_time.tolist() == [1_000, 2_000, 9_000]
    assert whole.span == (1_000, 10_000)


@given(given=trades(), size=st.sampled_from([0.5, 2.0, 7.5]), dollars=st.booleans())
def test_information_bars_equal_those_of_a_slow_twin(given: Trades, size: float, dollars: bool) -> None:
    traded = given.price * given.amount if dollars else given.amount
    wanted: list[list[int]] = []
    begun: list[int] = []
    for k in range(len(given)):
        begun.append(k)
        if traded[begun].sum() >= size * (1 - 1e-9):
            wanted.append(begun)
            begun = []
    make = dollar_bars if dollars else volume_bars
    if not wanted:
        with pytest.raises(DataError, match="fill no bar"):
            make(given, size)
        return
    bars = make(given, size)
    assert bars.trades.tolist() == [len(rows) for rows in wanted]
    for k, rows in enumerate(wanted):
        assert (bars.open_time[k], bars.close_time[k]) == (given.time[rows[0]], given.time[rows[-1]])
        assert (bars.open[k], bars.close[k]) == (given.price[rows[0]], given.price[rows[-1]])
        assert (bars.high[k], bars.low[k]) == (given.price[rows].max(), given.price[rows].min())
        assert bars.volume[k] == pytest.approx(given.amount[rows].sum())
        assert bars.quote[k] == pytest.approx((given.amount * given.price)[rows].sum())
    assert all((bars.volume if not dollars else bars.quote) >= size * (1 - 1e-9))
    assert repr(bars).startswith(f"InformationBars(BTC/USDT, {'dollar' if dollars else 'volume'}")


def test_what_cannot_be_bars_is_refused() -> None:
    some = Trades.of("BTC/USDT", [5, 3], [1.0, 2.0], [1.0, 1.0])
    assert some.time.tolist() == [3, 5]
    assert not some.price.flags.writeable
    with pytest.raises(UsageError, match="divide a day"):
        trade_bars(some, "1w")
    with pytest.raises(UsageError, match="above 0"):
        volume_bars(some, 0)
    with pytest.raises(DataError, match=r"trade 1 .*price nan"):
        Trades.of("BTC/USDT", [1, 2], [1.0, float("nan")], [1.0, 1.0])
    with pytest.raises(DataError, match="of one length"):
        Trades.of("BTC/USDT", [1, 2], [1.0], [1.0, 1.0])
