"""What single sections compute: tones, bands, best rows, thinning, digits."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.report import charts, closes, digits, fan, features, learning, markup, quality, results, skill, verdict
from candelabra.report.inputs import (
    CloseView,
    Fan,
    FeatureScore,
    LearningCurve,
    MetricColumn,
    ReportInputs,
    ResultRow,
    SkillPanel,
    SkillPoint,
    VerdictRow,
)

finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_verdict_takes_a_side_only_when_its_interval_excludes_zero(middle: float, below: float, above: float) -> None:
    row = VerdictRow("x", "m", 0.0, "b", 0.0, middle, middle - below, middle + above, None, "")
    assert (verdict.tone(row) == "level") == (row.low <= 0 <= row.high)
    if verdict.tone(row) != "level":
        assert (verdict.tone(row) == "better") == (middle > 0)


def fan_of(levels: list[float]) -> Fan:
    return Fan(0, 1.0, np.array([1]), np.array(levels), np.ones((1, len(levels))))


def test_bands_are_the_central_intervals_nearest_to_90_80_and_50_per_cent() -> None:
    levels = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
    assert fan.bands(fan_of(levels)) == [(0.9, 1, 7), (0.8, 2, 6), (0.5, 3, 5)]
    assert fan.bands(fan_of([0.1, 0.5, 0.9])) == [(0.8, 0, 2)]
    assert fan.bands(fan_of([0.1, 0.5, 0.8])) == []  # not central


def test_a_fan_starts_at_the_close_of_its_origin_and_only_one_is_shown_at_first(full_inputs: ReportInputs) -> None:
    view = full_inputs.candles[0]
    spec = fan._figure(view)
    medians = [t for t in spec["data"] if t.get("name") == "median forecast"]
    assert len(medians) == len(view.fans)
    assert [t["x"][0] for t in medians] == [f.origin_ms for f in view.fans]
    assert [t["y"][0] for t in medians] == pytest.approx([f.price for f in view.fans], rel=1e-5)
    assert sum(t["visible"] for t in medians) == 1
    for step, f in zip(spec["layout"]["sliders"][0]["steps"], view.fans, strict=True):
        shown = [t for t, on in zip(spec["data"], step["args"][0]["visible"], strict=True) if on and t.get("name") == "median forecast"]
        assert [t["x"][0] for t in shown] == [f.origin_ms]


def test_true_regimes_are_shaded_in_stretches_that_cover_the_candles(simulated_inputs: ReportInputs) -> None:
    view = simulated_inputs.candles[0]
    shapes = fan._figure(view)["layout"]["shapes"]
    assert len(shapes) == 5
    assert shapes[0]["x0"] == view.open_time_ms[0]
    assert shapes[-1]["x1"] == view.open_time_ms[-1] + 3_600_000
    assert all(a["x1"] == b["x0"] for a, b in itertools.pairwise(shapes))


def close_view(predicted: np.ndarray, actual: np.ndarray, origin: np.ndarray) -> CloseView:
    return CloseView("A", "1h", np.arange(len(actual), dtype=np.int64), origin, actual, predicted)


def test_return_r2_is_one_for_the_truth_zero_for_no_change_and_levels_flatter_both() -> None:
    rng = np.random.default_rng(3)
    price = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 3000)))
    origin, actual = price[:-1], price[1:]
    assert closes.return_r2(close_view(actual, actual, origin)) == pytest.approx(1)
    assert closes.return_r2(close_view(origin, actual, origin)) == pytest.approx(0)
    assert closes.return_r2(close_view(origin**2 / actual, actual, origin)) < -2  # always the wrong way
    ours, last = closes.level_r2(close_view(origin, actual, origin))
    assert ours == last > 0.98


def test_a_mean_of_zero_is_said_and_its_returns_are_drawn_against_the_interval() -> None:
    rng = np.random.default_rng(3)
    price = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 3000)))
    band = np.stack([np.full(2999, -0.0164), np.full(2999, 0.0164)], axis=1) * rng.uniform(0.8, 1.2, (2999, 1))
    flat = dataclasses.replace(close_view(price[:-1], price[1:], price[:-1]), band=band)
    assert closes.is_zero(flat)
    said = closes._pair(0, flat, 1000)
    assert closes.NO_POINT in said
    assert "predicted return" not in said
    held = float(re.search(r"([\d.]+)\u00a0% of the dots lie inside the 90\u00a0%", said)[1])  # type: ignore[index]
    assert held == pytest.approx(90, abs=3)
    assert closes.NO_POINT in closes._pair(0, dataclasses.replace(flat, band=None), 1000)
    moved = close_view(price[:-1] * 1.0001, price[1:], price[:-1])
    assert not closes.is_zero(moved)
    assert "predicted return" in closes._pair(0, moved, 1000)


def test_horizons_open_on_the_longest_of_the_first_symbol() -> None:
    price = np.ones(3)
    views = [dataclasses.replace(close_view(price, price, price), symbol=s, horizon=h) for s in "AB" for h in ("4h", "1d", "1h")]
    assert markup.longest(views) == 1
    shown = markup.choices("k", [(v.horizon, v.horizon) for v in views], "Horizon", markup.longest(views))
    assert re.findall(r'aria-pressed="true" data-shows="(k-\d)"', shown) == ["k-1"]
    assert re.findall(r'id="(k-\d)">', shown) == ["k-1"]


def test_a_panel_without_any_difference_is_a_sentence() -> None:
    points = tuple(SkillPoint(m, "baseline", "1h", v, -5e-5, 9e-5) for m, v in (("a", 0.0), ("b", 5e-5)))
    panel = SkillPanel("MSE skill", points, "the zero forecast")
    assert skill.is_flat(panel)
    assert "No model differs from the zero forecast by as much as 0.01" in skill._panel(0, panel)
    seen = dataclasses.replace(panel, points=(*points, SkillPoint("c", "baseline", "1h", 0.0, -0.0002, 0.00001)))
    assert not skill.is_flat(seen)
    assert 'class="plot"' in skill._panel(0, seen)
    assert not skill.is_flat(dataclasses.replace(panel, unit=""))  # a plain difference has no such floor


def test_timeframes_stand_base_first_then_by_length() -> None:
    assert verdict._by_length(("1h", "1d", "4h", "15m")) == ["1h", "15m", "4h", "1d"]
    assert verdict._by_length(("strange", "4h", "1h")) == ["strange", "1h", "4h"]
    assert verdict._by_length(("1h", "odd", "4h")) == ["1h", "odd", "4h"]


@given(st.floats(1e-7, 0.5), st.floats(1, 50), st.sampled_from(["", "%"]))
def test_an_interval_clear_of_zero_is_seen_to_be(near: float, times: float, unit: str) -> None:
    for low, high in ((near, near * times), (-near * times, -near)):
        for end in digits.interval(low, high, unit).removesuffix(" %").split(" … "):
            assert any(c in "123456789" for c in end)
            assert end[0] == ("+" if low > 0 else "−")


def test_a_verdict_is_coloured_as_it_is_worded_and_shares_are_per_cent() -> None:
    row = VerdictRow(
        "x", "share right", 0.52, "commoner", 0.51, 0.01, 0.001, 0.02, None, "better, too little to matter", tone="level", figures="percent"
    )
    assert verdict.tone(row) == "level"
    assert verdict.tone(dataclasses.replace(row, tone=None)) == "better"
    assert [c.text for c in verdict._row(row)][2:5] == ["52.0 %", "commoner", "51.0 %"]
    nothing = dataclasses.replace(row, ours=math.nan, skill=math.nan, low=math.nan, high=math.nan)
    assert [c.text for c in verdict._row(nothing)][5:8] == [digits.DASH] * 3


def test_the_best_row_is_chosen_within_symbol_and_horizon_and_no_oracle_competes() -> None:
    rows = (
        ResultRow("a", "ours", "X", "1h", {"m": 0.2}),
        ResultRow("b", "baseline", "X", "1h", {"m": 0.1}),
        ResultRow("o", "oracle", "X", "1h", {"m": 0.9}),
        ResultRow("b", "baseline", "X", "6h", {"m": math.nan}),
        ResultRow("a", "ours", "X", "6h", {}),
        ResultRow("b", "baseline", "Y", "1h", {"m": -1.0}),
    )
    assert results.best_rows(rows, MetricColumn("m", "M", "high")) == {0, 5}
    assert results.best_rows(rows, MetricColumn("m", "M", "low")) == {1, 5}
    assert results.best_rows(rows, MetricColumn("m", "M")) == set()


def test_models_stand_in_order_of_skill_with_ours_in_bold_and_whiskers_at_the_interval(full_inputs: ReportInputs) -> None:
    spec = skill._figure(full_inputs.skill[0])
    assert spec["layout"]["yaxis"]["ticktext"][-1] == "<b>ensemble</b>"
    assert spec["layout"]["yaxis"]["ticktext"][0] == "EWMA"
    point = full_inputs.skill[0].points[0]
    trace = next(t for t in spec["data"] if t["name"].startswith("ensemble"))
    assert point.high is not None
    assert trace["x"][0] + trace["error_x"]["array"][0] == pytest.approx(point.high, rel=1e-3)
    worst_first = skill._figure(dataclasses.replace(full_inputs.skill[0], better="low"))
    assert worst_first["layout"]["yaxis"]["ticktext"][-1] == "EWMA"


def test_the_strongest_features_are_those_of_largest_absolute_correlation_and_nan_comes_last() -> None:
    scores = [FeatureScore(str(i), "1h", "t", c) for i, c in enumerate([0.1, -0.9, math.nan, 0.5])]
    assert [s.name for s in features.strongest(scores)] == ["1", "3", "0", "2"]


@given(st.integers(0, 5000), st.integers(2, 800))
def test_thinning_keeps_order_both_ends_and_the_limit(length: int, most: int) -> None:
    rows = charts.thin(length, most)
    assert len(rows) == min(length, most)
    assert (np.diff(rows) > 0).all()
    if length:
        assert (rows[0], rows[-1]) == (0, length - 1)


@given(st.lists(finite, max_size=20))
def test_rounded_columns_stay_within_half_a_unit_of_the_last_digit(values: list[float]) -> None:
    for given_, kept in zip(values, charts.column(values, 5), strict=True):
        assert kept == pytest.approx(given_, rel=5.1e-5, abs=0)


@given(finite)
def test_numbers_are_written_without_ascii_minus_and_with_few_digits(value: float) -> None:
    for text in (digits.significant(value), digits.percent(value), digits.skill(value, "%"), digits.skill(value, "")):
        assert "-" not in text
        assert "nan" not in text
    assert sum(c.isdigit() for c in digits.significant(value).split("×")[0].lstrip("−0.,")) <= max(3, len(f"{abs(value):.0f}"))


def test_losses_on_two_scales_have_two_axes_and_no_point_lies_outside() -> None:
    step = np.array([10, 20, 30], np.int64)
    curve = LearningCurve("arms", 0, step, np.array([5.0, 3.2, 3.1]), step, np.array([2.26397, 2.26365, 2.26380]), 20, "all steps done")
    spec = learning._figure([curve])
    by_name = {t["name"]: t for t in spec["data"]}
    assert by_name["training (right)"]["yaxis"] == "y2"
    assert "yaxis" not in by_name["validation (left)"]
    low, high = spec["layout"]["yaxis"]["range"]
    assert low < curve.validation_loss.min()
    assert high > curve.validation_loss.max()
    low, high = spec["layout"]["yaxis2"]["range"]
    assert low < 3.1
    assert high >= 3.2


def test_a_calendar_has_its_colour_bar_marked_at_both_ends_only(full_inputs: ReportInputs) -> None:
    heat = quality._calendar(full_inputs.quality)["data"][0]
    assert heat["colorbar"]["tickvals"] == [heat["zmin"], heat["zmax"]]
    assert heat["zmax"] >= max(v for row in heat["z"] for v in row if v is not None) - 0.01


def test_what_needs_a_word_in_the_table_of_results_gets_one_only_when_it_is_there(full_inputs: ReportInputs) -> None:
    plain = results.section(full_inputs)
    more = results.section(dataclasses.replace(full_inputs, results=(ResultRow("adaptive", "member", "all", "1h", {"crps": 0.001}),)))
    assert plain is not None
    assert more is not None
    assert "adaptive:" not in plain.body
    assert "adaptive:" in more.body


def test_columns_are_written_with_the_decimals_asked_for() -> None:
    row = ResultRow("a", "ours", "all", "1h", {"r2": 0.369512, "crps": 0.0020164, "mse": 2.1704e-5})
    cells = [MetricColumn("r2", "", places=3), MetricColumn("crps", "", style="percent", places=4), MetricColumn("mse", "")]
    assert [results._cell(row, c, False).text for c in cells] == ["0.370", "0.2016 %", "2.170×10⁻⁵"]


def test_a_skill_panel_shows_every_whisker_and_zero(simulated_inputs: ReportInputs) -> None:
    for panel in simulated_inputs.skill:
        times_hundred = 100 if panel.unit else 1
        low, high = skill._figure(panel)["layout"]["xaxis"]["range"]
        ends = [times_hundred * v for p in panel.points for v in (p.value, p.low, p.high) if v is not None]
        assert low < min(0, *ends)
        assert high > max(0, *ends)
