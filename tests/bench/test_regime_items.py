"""Items about regimes: intervals over markets, reach by timeframes with segments enough, and absent candles said plainly."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from bench.item import Absent, Item, Tool
from bench.regime_joint import ITEM as JOINT
from bench.regime_nested import NESTED
from bench.regime_real import REAL, hours
from bench.regime_segmenter import over_markets
from bench.regime_stream import STREAM

from bench import runner


def test_an_interval_over_markets_holds_the_mean_and_widens_with_their_spread() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.05, 10)
    low, high = over_markets(values)
    assert low < values.mean() < high
    wide = over_markets(values.mean() + 3 * (values - values.mean()))
    assert wide[1] - wide[0] == pytest.approx(3 * (high - low))
    assert over_markets(values, np.median) != (low, high)


def test_only_timeframes_with_segments_enough_are_held_to_the_reach() -> None:
    told = {"1h/train segments": 160.0, "4h/train segments": 40.0}
    for goal in REAL.goals:
        name = goal.figure.removeprefix("1h/")
        told |= {f"1h/{name}": 0.02, f"4h/{name}": -0.3}
    for goal in REAL.goals:
        assert goal.met(goal.ratio({"candelabra": told}))
        assert not goal.met(goal.ratio({"candelabra": told | {"4h/train segments": 100.0}}))
        assert math.isnan(goal.ratio({"candelabra": told | {"1h/train segments": 99.0}}))


def test_joint_must_be_level() -> None:
    figure = "1h/macro_f1"
    goal = next(g for g in NESTED.goals if g.figure == figure)
    for value, high, met in ((0.01, 0.03, True), (-0.005, 0.01, True), (-0.02, 0.01, False), (-0.005, -0.001, False)):
        assert goal.met(goal.ratio({"candelabra": {figure: value, f"{figure} high": high}})) is met


def test_absent_candles_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDELABRA_DATA", str(tmp_path))
    hours.cache_clear()
    with pytest.raises(Absent, match="binance_BTCUSDT_1m_2021"):
        hours()


def test_an_item_states_its_own_limit_and_what_exceeds_it_fails_alone() -> None:
    item = Item("regimes/slow", "never done", {"ours": Tool(dict)}, limit=0.01)
    said = runner._measure_apart(item, "ours", small=True)
    assert "not done after 0.01 s" in said["failed"]
    assert "python -m bench one regimes/slow 'ours'" in said["failed"]
    (line,) = runner._lines(item, True, "")
    assert (line["ok"], line["value"]) == (False, None)
    assert JOINT.limit >= 4 * Item("another", "", {}).limit


def test_the_chain_that_is_timed_says_what_the_history_says() -> None:
    told = STREAM.tools["candelabra"].run(True)
    assert {"convolution/median", "convolution/p90", "transformer/median", "transformer/p90"} <= set(told)
    assert all(0 < told[f"{name}/median"].value <= told[f"{name}/p90"].value for name in ("convolution", "transformer"))
    assert told["convolution/median"].checksum != told["transformer/median"].checksum
