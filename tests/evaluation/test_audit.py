"""The audit's own manners: clean things pass to the bit, answers find their bars, notes say what could not be judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.errors import DataError, UsageError
from candelabra.evaluation.answers import Answer, as_answer, moved
from candelabra.evaluation.causality import audit
from candelabra.evaluation.findings import Audit, Finding, span_words
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.subjects import (
    feature_subject,
    function_subject,
    label_subject,
    labeller_subject,
    scaler_subject,
    series_subject,
)
from candelabra.evaluation.worlds import Market
from candelabra.features.catalog import compute, describe
from candelabra.features.scaling import fit_scaler
from candelabra.features.talib_functions import FUNCTIONS
from candelabra.regimes.labeller import new_labeller
from candelabra.regimes.segmentation import Segmentation
from candelabra.testing import example_candles, example_recipe
from candelabra.testing.planted import PLANTED
from candelabra.windows.splits import chronological

CANDLES = example_candles(bars=1_200)
MARKET = Market.of(CANDLES)
FIVE = example_candles("5m", bars=1_200 * 12)
FINE = Market.of([FIVE, resample(FIVE, "1h")])
CATALOG = [row["name"] for row in describe()] + [f"talib.{name}" for name in FUNCTIONS] + ["talib.CDLDOJI", "lag(rsi(5),3)"]


@pytest.mark.parametrize("spec", CATALOG)
def test_no_false_alarm_over_the_catalog(spec: str) -> None:
    found = audit(feature_subject([spec]), FINE if "fine" in spec else Market.of(FINE.candles["1h"]))
    assert found.passed, [f.words for f in found.findings]
    assert sum(found.tried.values()) > 60


def test_no_false_alarm_over_what_a_model_sees_scaled_and_labelled() -> None:
    quarter = Market.of(example_candles("15m", bars=6_000))
    recipe = example_recipe()
    assert audit(series_subject(recipe), quarter, effort=Effort(moments=3, early=2)).passed
    assert audit(label_subject(["1h", "6h", "24h"]), MARKET).passed
    specs = ["return(1)", "log_rv(6)", "rsi(14)"]
    table = compute(CANDLES, specs)
    for kind in ("standard", "robust", "minmax", "none"):
        scaler = fit_scaler(table.values, np.arange(700), table.names)
        assert audit(scaler_subject(scaler, specs), MARKET).passed, kind


@pytest.mark.parametrize("name", ["trend_scan", "triple_barrier", "zigzag", "lunde_timmermann", "bry_boschan", "centred_window"])
def test_no_false_alarm_over_the_labellers(name: str) -> None:
    found = audit(labeller_subject(new_labeller(name)), MARKET)
    assert found.passed, [f.words for f in found.findings]
    assert sum(found.tried.values()) > 60


def test_a_labeller_that_knows_too_early_is_found_with_its_distance() -> None:
    honest = new_labeller("triple_barrier", {"patience": 6, "least_run": 1})

    class Early:
        name, labels, reach = "early", honest.labels, honest.reach

        def label(self, candles: Candles) -> Segmentation:
            made = honest.label(candles)
            columns = (made.start, made.end, made.code, made.confidence, np.maximum(made.known_at - 2 * 3_600_000, made.end))
            return Segmentation.of(made.symbol, made.timeframe, made.labels, *columns)

    found = audit(labeller_subject(Early()), MARKET)
    assert {f.law for f in found.findings} == {"label"}
    assert max(f.bars or 0 for f in found.findings) == 2


def _piece(what: str, n: int, frame: pd.DataFrame) -> pd.Series:
    log = np.log(frame["close"])
    r = log.diff()
    pieces = {
        "rolling": lambda: r.rolling(n).mean(),
        "deviation": lambda: r.rolling(n + 1).std(),
        "expanding": lambda: r - r.expanding(n).mean(),
        "ewm": lambda: r.ewm(span=n, adjust=False).mean(),
        "rank": lambda: frame["volume"].rolling(n + 1).rank(),
        "quantile": lambda: log - log.rolling(n).quantile(0.8),
        "median": lambda: frame["high"] / frame["low"].rolling(n).median(),
        "filled": lambda: r.rolling(n).sum().ffill(),
    }
    return pieces[what]()


def _clean(parts: list[tuple[str, int]]) -> Any:
    """A random pipeline that reads only the past, made of pandas' own pieces."""

    def pipeline(frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({f"{what}_{k}": _piece(what, n, frame) for k, (what, n) in enumerate(parts)})

    return pipeline


WORDS = ("rolling", "deviation", "expanding", "ewm", "rank", "quantile", "median", "filled")


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.integers(1, 60)), min_size=1, max_size=4))
@settings(max_examples=15)
def test_no_false_alarm_on_random_clean_pipelines(parts: list[tuple[str, int]]) -> None:
    found = audit(
        function_subject(_clean(parts), given="pandas"), Market.of(CANDLES.rows(slice(0, 700))), effort=Effort(moments=3, early=3)
    )
    assert found.passed, [f.words for f in found.findings]


def test_frames_of_any_kind_go_in_and_come_out() -> None:
    def in_pandas(df: pd.DataFrame) -> pd.DataFrame:
        df = df.set_index("open_time")
        return df[["close"]].shift(-1).rename(columns={"close": "next"})

    def in_polars(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.select("close_time" if "close_time" in frame.columns else "open_time", pl.col("close").shift(-1).alias("next"))

    def in_arrays(columns: dict[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
        return {"next": np.append(columns["close"][1:], np.nan)}

    def in_candles(candles: Candles) -> list[float]:
        return [*candles.close[1:].tolist(), float("nan")]

    for function, column in ((in_pandas, "next"), (in_polars, "next"), (in_arrays, "next"), (in_candles, "output")):
        found = audit(function_subject(function), MARKET, effort=Effort(moments=2, early=1))
        assert [(f.column, f.bars) for f in found.findings if f.law == "future"] == [(column, 1)], function.__name__


def test_rows_find_their_bars_by_time_and_what_cannot_be_placed_is_refused() -> None:
    answer = as_answer(pd.DataFrame({"open_time": pd.to_datetime(CANDLES.open_time[50:], unit="ms"), "x": CANDLES.close[50:]}), CANDLES)
    np.testing.assert_array_equal(answer.time_ms, CANDLES.close_time[50:])
    assert as_answer(pl.Series("y", CANDLES.close), CANDLES).names == ("y",)
    assert as_answer(np.ones((len(CANDLES), 2)), CANDLES).names == ("output[0]", "output[1]")
    words = as_answer({"word": np.where(CANDLES.close > CANDLES.open, "up", "down")}, CANDLES)
    assert len(np.unique(words.values)) == 2
    for bad, message in (
        (CANDLES.close[50:], "rows came back for 1,191 bars"),
        ({"a": CANDLES.close, "b": CANDLES.close[1:]}, "different lengths"),
        (pd.DataFrame({"open_time": [CANDLES.open_time[0]] * 2, "x": [1, 2]}), "more than once"),
        (object(), "a object came back"),
    ):
        with pytest.raises(UsageError, match=message):
            as_answer(bad, CANDLES)


def test_comparing_knows_rounding_gone_rows_and_what_may_still_move() -> None:
    time = np.arange(4, dtype=np.int64)
    before = Answer.of(time, {"x": [1.0, 2.0, np.nan, 4.0]})
    same = Answer.of(time, {"x": [1.0 + 1e-13, 2.0, np.nan, 9.0]})
    assert not moved(before, same, 2, 1e-10).any()
    assert moved(before, same, 2).any()
    assert moved(before, same, 3, 1e-10)[3, 0]
    gone = Answer.of(time[1:], {"x": [2.0, np.nan, 4.0]})
    assert moved(before, gone, 3)[:, 0].tolist() == [True, False, False, False]
    assert moved(before, Answer.of(time, {"y": [0.0] * 4}), 3)[:, 0].tolist() == [True, True, False, True]
    label = Answer.of(time, {"x": [1.0, 2.0, 3.0, 4.0]}, time + 2)
    assert moved(label, Answer.of(time, {"x": [9.0] * 4}), 2)[:, 0].tolist() == [True, False, False, False]


def test_what_raises_or_refuses_is_noted_and_the_rest_is_judged() -> None:
    def short(candles: Candles) -> Any:
        if len(candles) < 1_000:
            raise DataError("at least 1,000 bars are needed")
        if candles.volume[-1] == 0:
            raise ValueError("nothing was traded")
        return np.append(candles.close[1:], np.nan)

    found = audit(function_subject(short), MARKET)
    assert any("refused" in n for n in found.notes)
    assert any("ValueError" in n for n in found.notes)
    assert [(f.law, f.bars) for f in found.findings] == [("future", 1)]
    with pytest.raises(UsageError, match="gave no value"):
        audit(function_subject(lambda candles: np.full(len(candles), np.nan)), MARKET)


def test_a_lag_by_name_is_due_and_any_other_is_late() -> None:
    assert audit(feature_subject(["lag(return(1),2)"]), MARKET).passed

    def late(candles: Candles) -> dict[str, Any]:
        return {"x": np.r_[np.nan, np.nan, candles.close[:-2]], "y": candles.close}

    assert [f.words for f in audit(function_subject(late), MARKET).findings] == ["x is 2 bars late (2h)"]
    assert audit(function_subject(late, delays={"x": 2}), MARKET).passed
    assert not audit(function_subject(late, delays={"x": 1}), MARKET).passed
    assert audit(function_subject(late, fresh="any"), MARKET).passed


def test_several_timeframes_by_name_and_the_late_one_is_named() -> None:
    day = Market.of([CANDLES, resample(CANDLES, "4h")])

    def joined(market: Mapping[str, Candles], late: int = 0) -> dict[str, Any]:
        hours, four = market["1h"], market["4h"]
        row = np.searchsorted(four.close_time, hours.close_time, "right") - 1 - late
        change = np.diff(np.log(four.close), prepend=np.nan)
        return {"hour": hours.close, "four": np.where(row >= 0, change[np.maximum(row, 0)], np.nan)}

    assert audit(function_subject(joined), day).passed

    def stale(market: Mapping[str, Candles]) -> dict[str, Any]:
        return joined(market, 1)

    assert [f.words for f in audit(function_subject(stale), day).findings] == ["four is 4 bars late (4h)"]
    named = audit(function_subject(stale, fresh="any"), day)
    assert [f.words for f in named.findings] == ["what reads the 4h candles is 4 bars late (4h)"]


def test_the_same_seed_gives_the_same_findings() -> None:
    planted = next(p for p in PLANTED if p.name == "winsorised")
    subject = function_subject(planted.make)
    one, two = (audit(subject, MARKET, seed=3).to_dict() for _ in range(2))
    assert one == two
    assert Audit.from_dict(one).to_dict() == one


def test_a_fit_that_reads_its_range_alone_passes_and_a_deaf_constant_is_noted() -> None:
    split = chronological([CANDLES.close_time], purge_ms=3_600_000)
    train, cut = split.train[0], split.cuts_ms[1]

    def fit(world: Market) -> dict[str, Any]:
        table = compute(world.finest, ["return(1)", "range"])
        scaler = fit_scaler(table.values, train, table.names)
        return {"center": scaler.center, "scale": scaler.scale, "version": np.array([1.0])}

    found = audit_fit("scaler", fit, MARKET, cut)
    assert found.passed
    assert found.notes == ("does not change even when all bars are scrambled, which proves nothing: version",)
    early = audit_fit("scaler", fit, MARKET, int(CANDLES.close_time[train[-40]]))
    assert {(f.column, f.bars) for f in early.findings} == {("center", 39), ("scale", 39)}
    with pytest.raises(UsageError, match="until when the constant 'version' may read"):
        audit_fit("scaler", fit, MARKET, {"center": cut, "scale": cut})


def test_a_fit_that_draws_without_a_seed_is_told_so() -> None:
    random = np.random.default_rng()
    found = audit_fit("draws", lambda world: {"weight": random.normal(size=3)}, MARKET, int(CANDLES.close_time[600]))
    assert "fitted twice on the same data, it differs" in found.findings[0].words


def test_distances_are_told_in_bars_and_time() -> None:
    assert span_words(48, "15m") == ("48 bars", " (12h)")
    assert span_words(60, "1d") == ("60 bars", " (60d)")
    assert Finding("s", "stale", "x", 1, "4h").words == "x is 1 bar late (4h)"
    assert Finding("s", "future", "x", None, "1h").words == "x reads what came later"
