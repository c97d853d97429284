"""The account: a page of arithmetic by hand, a slow twin that agrees trade by trade, and identities that hold for any candles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, UsageError
from candelabra.sources import read_candles
from candelabra.testing import example_candles
from candelabra.trading.account import Account
from candelabra.trading.backtest import Backtest, Walk, backtest, funding_due
from candelabra.trading.grid import Grid
from candelabra.windows.targets import candle_targets

Floats = NDArray[np.float64]
Agree: TypeAlias = Callable[[Backtest, Walk, list[float]], None]
HOUR = 3_600_000
FREE = Account(purse=1000.0, taker=0.0, maker=0.0, slippage=0.0)


def bars(rows: list[tuple[float, float, float, float]], *, start: int = 0, at: list[int] | None = None, symbol: str = "A/B") -> Candles:
    """Hourly candles from ``open, high, low, close``; ``at``: which hours they are."""
    hours = list(range(len(rows))) if at is None else at
    times = [start + HOUR * h for h in hours]
    o, h, lo, c = (list(x) for x in zip(*rows, strict=True))
    return Candles.of(symbol, "1h", times, o, h, lo, c, [1.0] * len(rows))


# --- by hand --------------------------------------------------------------------------------------------------------------------------


def test_a_page_of_arithmetic() -> None:
    """Buy at the next open, sell at the open after: every figure below is worked out on paper.

    purse 1,000; fee 1 %; slippage 2 %; the decision of bar 0 (close 100) fills at the open of bar 1: 110.
    fill price      110 x 1.02 = 112.20
    units           1,000 / (112.20 x 1.01) = 1,000 / 113.322 = 8.824412...
    value           8.824412 x 112.20 = 990.0990; fee 9.900990; cash 1,000 - 990.0990 - 9.9010 = 0
    close of bar 1  8.824412 x 120 = 1,058.9294 = equity
    sold at the open of bar 2, 125: 125 x 0.98 = 122.50; value 8.824412 x 122.50 = 1,080.9905; fee 10.809905; cash 1,070.1806
    """
    candles = bars([(100, 100, 100, 100), (110, 121, 109, 120), (125, 126, 120, 121)])
    run = backtest(candles, [1.0, 0.0, 0.0], Account(purse=1000.0, taker=0.01, maker=0.0, slippage=0.02))
    units = 1000.0 / (112.2 * 1.01)
    assert units == pytest.approx(8.824412, abs=1e-6)
    np.testing.assert_allclose(run.units[:, 0], [0.0, units, 0.0], rtol=1e-14)
    np.testing.assert_allclose(run.cash, [1000.0, 0.0, units * 122.5 * 0.99], atol=1e-10)
    np.testing.assert_allclose(run.equity, [1000.0, units * 120.0, 1070.1806], atol=1e-4)
    (trade,) = run.trades
    assert (trade.opened, trade.closed, trade.reason, trade.symbol) == (1, 2, "rule", "A/B")
    assert (trade.entry, trade.exit) == pytest.approx((112.2, 122.5))
    assert trade.profit == pytest.approx(70.1806, abs=1e-4)
    assert trade.fees == pytest.approx(9.900990 + 10.809905, abs=1e-5)
    assert run.totals["slippage"] == pytest.approx(units * (2.2 + 2.5), abs=1e-9)
    assert run.growth == pytest.approx(0.0701806, abs=1e-7)


def test_a_short_pays_and_receives_by_hand() -> None:
    """Short 10 units at 100, funding 1 % of the 900 it is worth at the next open comes in, bought back at 80.

    1,000 / 100 = 10 units sold: cash 2,000. Open of bar 2 at 90: shorts receive 10 x 90 x 0.01 = 9. Bought back at the open of bar 3, 80:
    cash 2,009 - 800 = 1,209.
    """
    candles = bars([(100, 100, 100, 100), (100, 100, 95, 95), (90, 90, 85, 85), (80, 80, 80, 80)])
    run = backtest(candles, [-1.0, -1.0, 0.0, 0.0], FREE, funding=[0.0, 0.0, 0.01, 0.0])
    np.testing.assert_allclose(run.cash, [1000.0, 2000.0, 2009.0, 1209.0])
    np.testing.assert_allclose(run.equity, [1000.0, 1050.0, 2009.0 - 850.0, 1209.0])
    assert run.trades[0].funding == pytest.approx(-9.0)
    assert run.trades[0].profit == pytest.approx(209.0)


def test_leverage_is_liquidated_where_the_margin_ends_by_hand() -> None:
    """Five times 1,000 at 100: 50 units, cash -4,000. Margin: -4,000 + 50 p = 0.02 x 50 p, so p = 4,000 / 49 = 81.632653.

    Sold there with 1 % for the liquidation: 50 x 81.632653 x 0.99 = 4,040.8163; cash 40.8163. The low of 70 is not what it gets.
    """
    candles = bars([(100, 100, 100, 100), (100, 100, 70, 90), (90, 90, 90, 90), (90, 99, 90, 99)])
    account = Account(purse=1000.0, taker=0.0, maker=0.0, slippage=0.0, leverage=5.0, maintenance=0.02, liquidation_fee=0.01)
    run = backtest(candles, [1.0, 1.0, 1.0, 1.0], account)
    (trade,) = run.trades
    assert (trade.reason, trade.opened, trade.closed) == ("liquidation", 1, 1)
    assert trade.exit == pytest.approx(4000.0 / 49.0)
    np.testing.assert_allclose(run.equity, [1000.0, 40.816327, 40.816327, 40.816327], atol=1e-6)


def test_a_debt_beyond_the_purse_is_the_exchanges() -> None:
    candles = bars([(100, 100, 100, 100), (100, 100, 100, 100), (50, 50, 50, 50), (50, 90, 50, 90)])
    run = backtest(candles, [1.0, 1.0, -1.0, 1.0], Account(purse=1000.0, taker=0.0, slippage=0.0, leverage=5.0, liquidation_fee=0.0))
    np.testing.assert_allclose(run.equity, [1000.0, 1000.0, 0.0, 0.0])  # 50 units x 50 - 4,000: 1,500 short
    assert run.totals["forgiven"] == pytest.approx(1500.0)
    assert len(run.trades) == 1  # an empty purse makes no more orders
    assert (run.returns >= -1.0).all()


# --- fills ----------------------------------------------------------------------------------------------------------------------------


def test_a_decision_fills_at_the_open_of_the_next_bar_that_exists() -> None:
    candles = bars([(100, 100, 100, 100), (130, 130, 130, 130), (140, 140, 140, 140)], at=[0, 7, 8])  # an outage of six hours
    run = backtest(candles, [1.0, 0.0, 0.0], FREE)
    assert (run.trades[0].entry, run.trades[0].exit) == (130.0, 140.0)


def test_the_last_decision_is_never_filled_and_what_is_open_is_valued() -> None:
    candles = bars([(100, 100, 100, 100), (100, 120, 100, 120)])
    assert backtest(candles, [0.0, 1.0], FREE).trades == ()
    (trade,) = backtest(candles, [1.0, 1.0], FREE).trades
    assert (trade.reason, trade.exit, trade.profit) == ("open", 120.0, pytest.approx(200.0))


def test_a_stop_comes_first_when_both_are_hit() -> None:
    candles = bars([(100, 100, 100, 100), (100, 120, 80, 100), (100, 100, 100, 100)])
    run = backtest(candles, [1.0, 1.0, 1.0], Account(purse=1000.0, taker=0.0, maker=0.0, slippage=0.0, stop=0.05, take=0.05))
    assert [(t.reason, t.exit) for t in run.trades] == [("stop", 95.0)]
    short = backtest(candles, [-1.0, -1.0, -1.0], Account(purse=1000.0, taker=0.0, maker=0.0, slippage=0.0, stop=0.05, take=0.05))
    assert [(t.reason, t.exit) for t in short.trades] == [("stop", 105.0)]


def test_an_open_beyond_the_stop_is_what_one_gets_and_a_resting_order_gets_no_better() -> None:
    account = Account(purse=1000.0, taker=0.0, maker=0.0, slippage=0.0, stop=0.05, take=0.05)
    down = bars([(100, 100, 100, 100), (100, 100, 100, 100), (88, 89, 85, 87)])
    assert [(t.reason, t.exit) for t in backtest(down, [1.0] * 3, account).trades] == [("stop", 88.0)]
    up = bars([(100, 100, 100, 100), (100, 100, 100, 100), (112, 115, 80, 110)])
    assert [(t.reason, t.exit) for t in backtest(up, [1.0] * 3, account).trades] == [("take", 105.0)]


def test_after_a_stop_the_same_side_stays_out_until_the_target_has_left_it() -> None:
    candles = bars([(100, 100, 100, 100), (100, 100, 90, 100), *[(100, 101, 99, 100)] * 6])
    account = Account(purse=1000.0, taker=0.0, maker=0.0, slippage=0.0, stop=0.05)
    run = backtest(candles, [1.0, 1.0, 0.5, 1.0, 0.0, 1.0, 1.0, 1.0], account)
    assert [(t.opened, t.reason) for t in run.trades] == [(1, "stop"), (6, "open")]
    turned = backtest(candles, [1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0], account)
    assert [(t.opened, t.reason) for t in turned.trades] == [(1, "stop"), (3, "open")]


def test_slippage_grows_with_the_volatility_known_at_the_decision() -> None:
    candles = bars([(100, 100, 100, 100)] * 4)
    account = Account(purse=1000.0, taker=0.0, slippage=0.001, slippage_volatility=0.5)
    run = backtest(candles, [1.0, 0.0, 0.0, 0.0], account, volatility=[np.array([0.02, 0.04, 9.0, 9.0])])
    assert (run.trades[0].entry, run.trades[0].exit) == pytest.approx((100 * 1.011, 100 * 0.979))
    with pytest.raises(UsageError, match="needs the volatility"):
        backtest(candles, [1.0, 0.0, 0.0, 0.0], account)


def test_funding_falls_due_at_its_moments_also_across_a_gap() -> None:
    grid = Grid.of(bars([(100, 100, 100, 100)] * 5, start=6 * HOUR, at=[0, 1, 2, 3, 27]))  # 06, 07, 08, 09 and 09 next day
    due, rates = funding_due(grid, Account(funding=0.0001))
    assert due.tolist() == [2, 4]  # 08:00; then 16:00, 00:00 and 08:00 at once
    np.testing.assert_allclose(rates[:, 0], [0.0001, 0.0003])
    assert len(funding_due(grid, Account())[0]) == 0


def test_two_symbols_share_one_purse() -> None:
    one = bars([(100, 100, 100, 100), (100, 200, 100, 200), (200, 200, 200, 200), (200, 200, 200, 200)])
    two = bars([(10, 10, 10, 10), (10, 10, 10, 10), (10, 10, 10, 10), (10, 20, 10, 20)], symbol="C/B")
    run = backtest([one, two], [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]], FREE)
    # half of 1,000 at 100: 5 units, worth 1,000 at 200; sold there before half of 1,500 goes into 75 units at 10
    np.testing.assert_allclose(run.units, [[0, 0], [5, 0], [5, 0], [0, 75]])
    np.testing.assert_allclose(run.equity, [1000.0, 1500.0, 1500.0, 2250.0])


def test_what_is_held_leaves_less_room_for_the_other() -> None:
    one = bars([(100, 100, 100, 100), (100, 300, 100, 300), (300, 300, 300, 300), (300, 300, 300, 300)])
    two = bars([(10, 10, 10, 10)] * 4, symbol="C/B")
    run = backtest([one, two], [[1.0] * 4, [0.0, 1.0, 1.0, 1.0]], FREE)
    # 5 units at 300 are 1,500 of 2,000: half of the purse would be 1,000, but without leverage only 500 are there
    np.testing.assert_allclose(run.units[2], [5.0, 50.0])
    assert run.cash[2] == pytest.approx(0.0)


def test_what_cannot_be_is_refused() -> None:
    candles = bars([(100, 100, 100, 100)] * 3)
    with pytest.raises(UsageError, match="not a share of the purse"):
        backtest(candles, [0.0, 1.5, 0.0])
    with pytest.raises(UsageError, match="3 bars but values of shape"):
        backtest(candles, [0.0, 1.0])
    with pytest.raises(UsageError, match="given twice"):
        Grid.of([candles, candles])
    with pytest.raises(DataError, match="at least one bar"):
        Grid.of([])
    with pytest.raises(UsageError, match="one account decides at one timeframe"):
        Grid.of([candles, example_candles("4h", 50, symbol="X/Y")])
    with pytest.raises(UsageError, match="knows the future"):
        backtest(candles, candle_targets(candles, ["1h"]))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="shares of one purse"):
        backtest(candles, [1.0] * 3, weights=[1.5])
    for wrong in ({"taker": -0.1}, {"leverage": 0.0}, {"stop": 1.0}, {"leverage": 300.0}, {"take": -1.0}, {"funding": 0.5}):
        with pytest.raises(UsageError, match=r"account|leverage"):
            Account(**wrong)  # type: ignore[arg-type]


# --- the twin -------------------------------------------------------------------------------------------------------------------------


def noisy_targets(candles: Candles, seed: int, *, short: bool = True) -> Floats:
    """Positions that change now and then: sides, sizes, and bars without a decision."""
    random = np.random.default_rng(seed)
    n = len(candles)
    kept = np.repeat(random.choice([-1.0, -0.5, 0.0, 0.3, 0.7, 1.0], n), random.integers(1, 30, n))[:n]
    kept[random.random(n) < 0.01] = np.nan
    return kept if short else np.abs(kept)


FULL = Account(
    purse=1000.0, taker=0.0006, maker=0.0002, slippage=0.0003, slippage_volatility=0.1, funding=0.0002, leverage=4.0, maintenance=0.01,
    stop=0.015, take=0.02,
)  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2])
def test_the_twin_agrees_on_five_thousand_bars_of_two_symbols_with_everything_on(seed: int, agree: Agree) -> None:
    one, two = example_candles("1h", 5000, seed=seed), example_candles("1h", 4600, seed=seed + 10, symbol="BBB/USDT", gaps=False)
    volatility = [np.full(len(c), 0.01) for c in (one, two)]
    walking = Walk.over([one, two], FULL, weights=[0.7, 0.3], volatility=volatility)
    run = walking.run(walking.grid.place([noisy_targets(one, seed), noisy_targets(two, seed + 5)]), FULL)
    agree(run, walking, [0.7, 0.3])
    reasons = {t.reason for t in run.trades}
    assert {"rule", "stop", "take"} <= reasons
    assert len(run.trades) > 200


def test_the_twin_agrees_on_real_candles(ohlcv: Path, agree: Agree) -> None:
    both = [read_candles(ohlcv / f"binance_{name}USDT_1h.parquet")[0].rows(slice(18_000, 23_000)) for name in ("BTC", "ETH")]
    account = Account(purse=1000.0, taker=0.0005, funding=0.0001, leverage=12.0, maintenance=0.02, stop=0.2, take=0.05)
    walking = Walk.over(both, account)
    run = walking.run(walking.grid.place([noisy_targets(c, k) for k, c in enumerate(both)]), account)
    agree(run, walking, [0.5, 0.5])
    assert {"liquidation", "take", "rule"} <= {t.reason for t in run.trades}


def test_the_twin_agrees_without_anything_on(agree: Agree) -> None:
    one = example_candles("1h", 5000, seed=4)
    walking = Walk.over(one, Account(purse=50.0))
    run = walking.run(walking.grid.place([noisy_targets(one, 9, short=False)]), Account(purse=50.0))
    agree(run, walking, [1.0])
    assert run.totals["orders"] > 100
    assert {t.reason for t in run.trades} <= {"rule", "open"}


# --- for any candles ------------------------------------------------------------------------------------------------------------------

settings_of_accounts = st.builds(
    Account,
    purse=st.sampled_from([1.0, 1000.0]),
    taker=st.sampled_from([0.0, 0.0005, 0.01]),
    maker=st.sampled_from([0.0, 0.0002]),
    slippage=st.sampled_from([0.0, 0.001]),
    slippage_volatility=st.sampled_from([0.0, 0.3]),
    funding=st.sampled_from([0.0, 0.001, -0.002]),
    leverage=st.sampled_from([0.5, 1.0, 3.0, 10.0]),
    maintenance=st.sampled_from([0.0, 0.01, 0.05]),
    stop=st.sampled_from([None, 0.01, 0.05, 0.5]),
    take=st.sampled_from([None, 0.01, 0.1]),
)


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Candles], list[Floats]]:
    """One to three symbols with wild prices and bars absent here and there, and what was decided."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    candles, targets = [], []
    for k in range(draw(st.integers(1, 3))):
        n = draw(st.integers(3, 80))
        scale = draw(st.sampled_from([0.002, 0.03, 0.3]))
        close = 100.0 * np.exp(np.cumsum(random.normal(0, scale, n)))
        opened = np.concatenate([[100.0], close[:-1]]) * np.exp(random.normal(0, scale / 3, n))
        high = np.maximum(opened, close) * np.exp(np.abs(random.normal(0, scale, n)))
        low = np.minimum(opened, close) * np.exp(-np.abs(random.normal(0, scale, n)))
        keep = random.random(n) > draw(st.sampled_from([0.0, 0.2]))
        keep[0] = True
        times = HOUR * np.arange(n, dtype=np.int64)
        candles.append(Candles.of(f"S{k}/B", "1h", *(x[keep] for x in (times, opened, high, low, close, np.ones(n)))))
        values = random.choice([np.nan, -1.0, -0.4, 0.0, 0.6, 1.0], int(keep.sum()), p=[0.3, 0.1, 0.1, 0.2, 0.15, 0.15])
        targets.append(values)
    return candles, targets


@given(market=markets(), account=settings_of_accounts)
def test_cash_and_positions_are_equity_and_trades_explain_all_of_it(
    market: tuple[list[Candles], list[Floats]], account: Account, agree: Agree
) -> None:
    candles, targets = market
    volatility = [np.full(len(c), 0.01) for c in candles]
    walking = Walk.over(candles, account, volatility=volatility)
    run = walking.run(walking.grid.place(targets), account)
    marks = np.nan_to_num(walking.grid.marks)
    size = account.purse + np.abs(run.cash) + np.abs(run.units * marks).sum(axis=1)
    assert (np.abs(run.cash + (run.units * marks).sum(axis=1) - run.equity) <= 1e-9 * size).all()
    profits = sum(t.profit for t in run.trades)
    assert abs(account.purse + profits + run.totals["forgiven"] - run.final) <= 1e-8 * float(size.max())
    # fees of trades are the fees that left the purse, and funding likewise
    assert sum(t.fees for t in run.trades) == pytest.approx(run.totals["fees"], rel=1e-9, abs=1e-12 * account.purse)
    assert sum(t.funding for t in run.trades) == pytest.approx(run.totals["funding"], rel=1e-6, abs=1e-9 * float(size.max()))
    # a price that opened a trade is one of its bar, moved by slippage alone
    for trade in run.trades:
        i = walking.grid.symbols.index(trade.symbol)
        slip = account.slippage + account.slippage_volatility * 0.01
        assert abs(trade.entry / walking.grid.open[trade.opened, i] - 1.0) <= slip + 1e-12
    agree(run, walking, walking.weights.tolist())


@given(market=markets(), account=settings_of_accounts, data=st.data())
def test_what_comes_later_moves_nothing_before_it(
    market: tuple[list[Candles], list[Floats]], account: Account, data: st.DataObject
) -> None:
    candles, targets = market
    volatility = [np.full(len(c), 0.01) for c in candles]
    whole = backtest(candles, targets, account, volatility=volatility)
    cut = data.draw(st.integers(1, len(whole.grid)))
    end = int(whole.grid.open_time[cut - 1]) + HOUR
    kept = [c.between(end_ms=end) for c in candles]
    there = [k for k, c in enumerate(kept) if len(c)]
    if len(there) < len(candles):
        return
    parts = [t[: len(c)] for t, c in zip(targets, kept, strict=True)]
    run = backtest(kept, parts, account, volatility=[v[: len(c)] for v, c in zip(volatility, kept, strict=True)])
    np.testing.assert_array_equal(run.equity, whole.equity[:cut])
    np.testing.assert_array_equal(run.units, whole.units[:cut])


def test_the_newest_decision_moves_the_next_bar() -> None:
    candles = example_candles("1h", 50, gaps=False)
    target = np.zeros(50)
    target[-2] = 1.0
    assert backtest(candles, target).units[-1, 0] > 0.0
    assert backtest(candles, np.zeros(50)).units[-1, 0] == 0.0
