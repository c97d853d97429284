"""Spec strings, the table they give, and what is said when they cannot be."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features import catalog
from candelabra.features.bars import Bars
from candelabra.features.catalog import FEATURES, compute, compute_tail, describe, parse, warm_up
from candelabra.features.kind import FeatureKind, Kind, bars_parameter
from candelabra.features.sets import SETS
from candelabra.registry import Entry

SPECS = [
    ("return", "return(1)"),
    (" log_rv( 24 ) ", "log_rv(24)"),
    ("lag(return(1), 3)", "lag(return(1),3)"),
    ("lag(macd.signal,2)", "lag(macd(12,26,9).signal,2)"),
    ("bollinger(20,2.50)", "bollinger(20,2.5)"),
    ("talib.CCI", "talib.CCI(14)"),
    ("talib.CCI(20)", "talib.CCI(20)"),
    ("talib.BBANDS(10).upperband", "talib.BBANDS(10,2,2,0).upperband"),
    ("fine_log_rv(5m,24)", "fine_log_rv(5m,24)"),
    ("gap", "gap"),
]


@pytest.mark.parametrize(("text", "canonical"), SPECS)
def test_a_spec_is_read_and_spelled_in_one_way(text: str, canonical: str) -> None:
    assert parse(text).spec == canonical
    assert parse(canonical).spec == canonical


@pytest.mark.parametrize("name", SETS)
def test_every_channel_name_is_a_spec_that_gives_that_channel(name: str, market: Candles) -> None:
    table = compute(market, SETS[name])
    again = compute(market, table.names)
    assert again.names == table.names
    np.testing.assert_array_equal(again.values, table.values)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("retrun(24)", "unknown feature 'retrun': did you mean \"return\"?"),
        ("log_rv(x)", "n must be a whole number of bars, got 'x'"),
        ("log_rv(0)", "n must be at least 1, got 0"),
        ("log_rv(2.5)", "whole number of bars"),
        ("log_yang_zhang(1)", "at least 2"),
        ("return(1,2)", "takes 1 arguments (n), got 2"),
        ("body(3)", "takes 0 arguments (none), got 1"),
        ("macd.sinal", "has no channel 'sinal': did you mean \"signal\"?"),
        ("rsi.k", "has one channel only"),
        ("return(1", "parenthesis is not closed"),
        ("return(1)x", "cannot read 'x'"),
        ("return 24", "write arguments in parentheses"),
        ("lag(return(1),,3)", "an argument is empty"),
        ("lag(macd,3)", "pick one, as in macd(12,26,9).line"),
        ("(3)", "does not begin with a feature's name"),
        ("fine_log_rv(5x,24)", "'5x' is not a timeframe"),
        ("bollinger(20,inf)", "at least 0.01, got inf"),
        ("talib", "needs a function behind a dot"),
        ("talib.RSII", 'did you mean "RSI"?'),
        ("talib.RSI(14,3)", "takes 1 parameters (timeperiod), got 2"),
        ("talib.RSI(2.5)", "must be a whole number"),
        ("talib.RSI(0)", "range"),
        ("talib.SAR", "no finite memory"),
        ("talib.HT_SINE", "no finite memory"),
        ("talib.OBV", "use ad(n) or obv(n)"),
        ("talib.VAR(5)", "squared price"),
        ("talib.MA(30,6)", "without finite memory"),
    ],
)
def test_a_spec_that_cannot_be_is_refused_with_the_reason(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as error:
        parse(spec)
    assert str(error.value).startswith(f'in feature "{spec}"')


def test_lists_are_checked(market: Candles) -> None:
    with pytest.raises(UsageError, match=r"log_rv\(24\) is listed twice"):
        compute(market, ["log_rv(24)", "log_rv"])
    with pytest.raises(UsageError, match="must be a list of specs"):
        compute(market, "log_rv(24)")
    with pytest.raises(UsageError, match="a feature is named by text"):
        compute(market, [24])  # type: ignore[list-item]


def test_finer_candles_must_be_given_and_be_finer(market: Candles) -> None:
    with pytest.raises(UsageError, match="reads 5m candles, which were not given"):
        compute(market, ["fine_log_rv(5m,24)"])
    with pytest.raises(UsageError, match="1h is not finer than 1h"):
        compute(market, ["fine_log_rv(1h,24)"], fine={"1h": market})


def test_no_bars_and_too_few_bars_give_tables_of_nothing_known(market: Candles) -> None:
    for rows in (0, 1, 5):
        for specs in SETS.values():
            table = compute(market.rows(slice(0, rows)), specs)
            assert table.values.shape == (rows, len(table.names))
            assert not np.isinf(table.values).any()
            assert len(compute_tail(market.rows(slice(0, rows)), specs)) == min(1, rows)
    assert np.isnan(compute(market.rows(slice(0, 5)), ["rsi(14)", "log_rv(24)"]).values).all()


def test_every_kind_is_described() -> None:
    rows = describe()
    assert {r["name"].split("(")[0].split(".")[0] for r in rows} == set(FEATURES.names())
    assert all(r["formula"] and r["family"] for r in rows)


def test_the_longest_warm_up_is_that_of_the_set() -> None:
    hour = Timeframe("1h")
    assert warm_up(["log_rv(24)", "log_rv(720)"], hour) == 720
    assert warm_up(["talib.SMA(50)"], hour) == 49
    assert warm_up([], hour) == 0


def test_a_third_party_adds_a_feature(market: Candles, monkeypatch: pytest.MonkeyPatch) -> None:
    def spread(bars: Bars, n: int) -> NDArray[np.float64]:
        return bars.log_high - bars.log_low + n

    module = sys.modules[__name__]
    monkeypatch.setattr(module, "SPREAD", Kind("spread", spread, "log(h/l) + n", bars_parameter(2), version="7"), raising=False)
    monkeypatch.setitem(sys.modules, "their_features", module)
    monkeypatch.setattr(catalog, "FEATURES", type(FEATURES)("feature", dict(FEATURES._entries)))
    catalog.FEATURES.add(Entry("spread", "candelabra.features.kind:Kind", "their_features:SPREAD", "theirs"))
    table = compute(market, ["spread(3)", "range"])
    np.testing.assert_allclose(table.values[:, 0], table.values[:, 1] + 3, rtol=1e-6)
    assert table.version.endswith("+spread-7")
    assert isinstance(catalog.FEATURES.load("spread"), FeatureKind)


def test_listing_features_loads_neither_talib_nor_a_plot_nor_a_model_library() -> None:
    code = (
        "import sys; from candelabra.features import catalog, scaling, selection, sets; catalog.parse('log_rv(24)');"
        "print([m for m in ('talib','scipy.cluster','pandas','torch','plotly','pyarrow','lightgbm') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
