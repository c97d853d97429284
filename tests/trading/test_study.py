"""A rule judged: its comparisons, words that follow the figures, and the tear sheet of others."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, MissingExtraError
from candelabra.metrics.significance import Difference
from candelabra.testing import example_candles, example_forecasts
from candelabra.trading import tearsheet
from candelabra.trading.account import Account
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.rules import BuyAndHold, Flat, Rule, Threshold
from candelabra.trading.study import COSTS, Study, study
from candelabra.trading.wording import BUG, EARNED, LOST, NO_SKILL, NO_TRADE, conclusion, verdict

CHEAP = Account(taker=0.0001, maker=0.0, slippage=0.0)


def market(knows: float, bars: int = 3000) -> tuple[Candles, Forecasts]:
    """A market and forecasts whose mean holds a share of the next hour's return."""
    candles = example_candles("1h", bars, seed=5, gaps=False)
    told = example_forecasts(candles, seed=3)
    told.mean[:-1, 0] += knows * np.diff(np.log(candles.close))
    return candles, told


def judged(rule: Rule, knows: float = 0.0, account: Account = CHEAP, trials: int = 1) -> Study:
    candles, told = market(knows)
    rows: NDArray[np.int64] = np.arange(1000, 3000)
    return study(rule, [candles], [told.rows(rows)], [rows], account, trials=trials, resamples=300, draws=100, block=48)


@pytest.fixture(scope="module")
def noise() -> Study:
    return judged(Threshold("1h", "mean", 0.002, 0.0, "both"), trials=20)


@pytest.fixture(scope="module")
def seer() -> Study:
    return judged(Threshold("1h", "mean", 0.002, 0.0, "both"), knows=1.0)


def test_a_rule_that_knows_nothing_shows_no_skill(noise: Study) -> None:
    assert conclusion(noise)[0] in (NO_SKILL, LOST)
    assert 0.0 < noise.chance.percentile < 1.0
    assert noise.deflated < noise.probabilistic
    assert noise.hold_figures.growth == pytest.approx(judged(BuyAndHold()).figures.growth)


def test_a_rule_that_knows_the_next_hour_is_called_a_bug(seer: Study) -> None:
    said, good = conclusion(seer)
    assert (said, good) == (BUG, None)
    assert seer.chance.percentile > 0.99
    assert seer.break_even > CHEAP.per_side
    assert any(row.flag for row in verdict(seer))


def test_costs_only_take(seer: Study) -> None:
    growth = [g for _, g in seer.cost_curve]
    assert [c for c, _ in seer.cost_curve] == list(COSTS)
    assert growth == sorted(growth, reverse=True)


def test_the_words_follow_the_figures(noise: Study) -> None:
    def words(value: float, low: float, high: float, trials: int = 1) -> str:
        changed = replace(noise, sharpe=Difference(value, low, high, 0.01, 300), trials=trials)
        return conclusion(changed)[0]

    assert words(1.0, -0.2, 2.2) == NO_SKILL
    assert words(-1.0, -2.0, -0.1) == LOST
    assert words(1.0, 0.001, 2.0) == NO_SKILL  # above 0, but not by two standard errors
    assert words(5.0, 3.0, 7.0) == BUG
    assert "may be luck among 20 tries" in words(1.0, 0.5, 1.5, trials=20)  # this curve's deflated ratio is low
    sure = replace(judged(Threshold("1h", "mean", 0.002, 0.0, "both"), knows=1.0), sharpe=Difference(2.0, 1.0, 3.0, 0.01, 300))
    assert conclusion(sure) == (EARNED, True)


def test_staying_out_and_staying_in_have_nothing_to_time() -> None:
    out, held = judged(Flat()), judged(BuyAndHold())
    assert conclusion(out) == (NO_TRADE, None)
    assert math.isnan(out.chance.percentile)
    assert math.isnan(held.chance.percentile)
    assert out.months[0][1] == 0.0
    assert held.excess.value == pytest.approx(0.0, abs=1e-12)
    assert any("no timing to test" in row.words for row in verdict(held))


def test_the_account_opens_flat_at_the_first_judged_bar(seer: Study) -> None:
    candles, _ = market(1.0)
    assert seer.span_ms == (int(candles.open_time[1000]), int(candles.close_time[2999]))
    assert seer.run.units[0, 0] == 0.0
    assert min(t.opened for t in seer.run.trades) >= 1


def test_bars_after_the_judged_ones_do_not_count() -> None:
    candles, told = market(0.3)
    rows: NDArray[np.int64] = np.arange(500, 1500)
    rule = Threshold("1h", "mean", 0.002, 0.0, "both")
    whole = study(rule, [candles], [told.rows(rows)], [rows], CHEAP, resamples=100, draws=10)
    cut = study(rule, [candles.rows(slice(0, 1500))], [told.rows(rows)], [rows], CHEAP, resamples=100, draws=10)
    assert repr(whole.as_dict()) == repr(cut.as_dict())
    with pytest.raises(DataError, match="no bars to backtest"):
        study(rule, [candles], [told.rows(rows[:1])], [rows[:1]], CHEAP)


def test_a_filter_reaches_the_account() -> None:
    candles, told = market(1.0)
    rows: NDArray[np.int64] = np.arange(500, 1500)
    shut = [np.zeros(len(rows), np.bool_)]
    found = study(Threshold("1h"), [candles], [told.rows(rows)], [rows], CHEAP, resamples=100, draws=10, allowed=shut)
    assert found.run.trades == ()


# --- the tear sheet of others ---------------------------------------------------------------------------------------------------------


def test_daily_returns_multiply_to_the_whole(seer: Study) -> None:
    days, returns = tearsheet.daily(seer.run)
    assert np.prod(1.0 + returns) == pytest.approx(1.0 + seer.run.growth)
    assert (np.diff(days.astype(int)) == 1).all()


@pytest.mark.slow
def test_quantstats_writes_its_sheet(seer: Study, tmp_path: Path) -> None:
    pytest.importorskip("quantstats", reason="quantstats is not installed: pip install 'candelabra[quantstats]'")
    tearsheet.write_tearsheet(seer.run, seer.hold, tmp_path / "sheet.html")
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "candelabra backtest" in text
    assert "Sharpe" in text
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.html"]


def test_without_the_extra_the_message_is_the_command(monkeypatch: pytest.MonkeyPatch, seer: Study, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "quantstats" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r"pip install 'candelabra\[quantstats\]'"):
        tearsheet.write_tearsheet(seer.run, seer.hold, tmp_path / "sheet.html")
    assert list(tmp_path.iterdir()) == []
