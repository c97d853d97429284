"""The section on trading: what it draws of a backtest, and what it says when nothing was traded."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from candelabra.errors import DataError
from candelabra.pipeline.present_trading import trading
from candelabra.report import trading as drawn
from candelabra.report.inputs import ReportInputs, RunFacts, TradingView
from candelabra.testing import example_candles, example_forecasts
from candelabra.trading.account import Account
from candelabra.trading.choice import Choice
from candelabra.trading.rules import Flat, Rule, Threshold
from candelabra.trading.study import study

FACTS = RunFacts(("SIM/USDT",), ("1h",), (), "arms", "b", 1, 0, "0")


def view(rule: Rule, account: Account | None = None, choice: Choice | None = None) -> TradingView:
    both = [example_candles("1h", 1500, seed=3), example_candles("1h", 1300, seed=4, symbol="BBB/USDT")]
    told = [example_forecasts(c, seed=k) for k, c in enumerate(both)]
    rows = [np.arange(300, len(c)) for c in both]
    found = study(
        rule, both, [f.rows(r) for f, r in zip(told, rows, strict=True)], rows, account or Account(), resamples=100, draws=40, block=24
    )  # fmt: skip
    return trading(found, choice)


def body(shown: TradingView) -> str:
    section = drawn.section(ReportInputs(run=FACTS, trading=shown))
    assert section is not None
    return section.body


def specs(text: str) -> dict[str, Any]:
    found = re.findall(r'<script type="application/json" data-for="([^"]+)">(.*?)</script>', text, re.S)
    return {key: json.loads(spec) for key, spec in found}


@pytest.fixture(scope="module")
def traded() -> TradingView:
    rule = Threshold("1h", "ratio", 0.2, 0.0, "both")
    return view(rule, Account(stop=0.02, take=0.05), Choice(rule, 52, 1.0, 0.1, 900))


def test_every_part_is_drawn_from_the_backtest(traded: TradingView) -> None:
    text = body(traded)
    found = specs(text)
    assert set(found) == {"equity", "trades-0", "trades-1", "costs", "chance"}
    assert "the best of 52 tried on validation, after costs" in text
    assert "pay 10 bp in fees and 5 bp of slippage" in text
    names = {trace["name"] for trace in found["trades-0"]["data"]}
    assert {"close", "bought", "sold short", "closed", "stopped", "profit taken"} <= names
    marks = sum(len(trace["x"]) for trace in found["trades-0"]["data"] if trace["name"] != "close")
    assert marks == min(len(traded.symbols[0].fill_kind), drawn.MOST_FILLS)
    last = found["equity"]["data"][1]["y"][-1]
    assert last == pytest.approx(float(traded.equity[-1]), rel=1e-4)
    lowest = min(found["equity"]["data"][3]["y"])
    peak = np.maximum.accumulate(np.maximum(traded.equity, 1.0))
    assert lowest == pytest.approx(float(100 * (traded.equity / peak - 1).min()), rel=1e-3)  # thinning has kept the worst moment
    assert sum(found["chance"]["data"][0]["y"]) == 40
    assert re.search(r"\u2212\d", text)  # losses have real minus signs ...
    assert not re.search(r">-\d", text)  # ... and no hyphens


def test_months_multiply_to_the_whole(traded: TradingView) -> None:
    assert np.prod([1 + ours for _, ours, _ in traded.months]) == pytest.approx(1 + traded.growth)
    assert np.prod([1 + hold for _, _, hold in traded.months]) == pytest.approx(float(traded.hold[-1]))
    text = body(traded)
    for month, _, _ in traded.months:
        assert month[:4] in text


def test_a_rule_that_stayed_out_says_so_and_draws_no_fills() -> None:
    text = body(view(Flat(), None, Choice(Flat(), 52, float("nan"), 0.0, 900)))
    assert set(specs(text)) == {"equity"}
    assert "no trade: no forecast paid for its costs" in text
    assert "for none of the 52 tried on validation earned its costs" in text
    assert "No order was made" in text


def test_names_are_escaped_and_lengths_must_fit(traded: TradingView) -> None:
    evil = dataclasses.replace(traded, rule="<script>alert(1)</script>")
    assert "<script>alert" not in body(evil)
    with pytest.raises(DataError, match="different lengths"):
        dataclasses.replace(traded, hold=traded.hold[1:])
    assert drawn.section(ReportInputs(run=FACTS)) is None


def test_the_costs_panel_names_what_was_paid(traded: TradingView) -> None:
    spec = specs(body(traded))["costs"]
    assert spec["data"][2]["x"] == [pytest.approx(15.0)]
    falling = [y for y in spec["data"][1]["y"] if y is not None]
    assert falling == sorted(falling, reverse=True)
