"""Forecasts judged when their future comes: the arithmetic of the evaluation, once each, over restarts; promises and drift."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.errors import BundleError
from candelabra.live.drift import Drift, input_edges, psi, read_edges, write_edges
from candelabra.live.feed import spanning
from candelabra.live.journal import writing_journal
from candelabra.live.judge import Judge, rolling, warnings
from candelabra.live.losses import Losses
from candelabra.live.promise import Interval, Promise, read_promise
from candelabra.live.rivals import Rival
from candelabra.live.seat import Opened, Seat
from candelabra.metrics.forecast import qlike
from candelabra.metrics.quantiles import covered, crps
from candelabra.windows.targets import candle_targets

HOUR = 3_600_000


def test_every_forecast_is_judged_once_with_the_targets_of_training(opened: Opened, market: Candles, tmp_path: Path) -> None:
    model: Any = opened.predictor.model
    rival = Rival("persistence", model.members["persistence"], opened.predictor.calibration)
    own = replace(opened, rivals=(rival,))
    start = int(market.span[0]) + 730 * HOUR
    with writing_journal(tmp_path) as journal:
        for a, b in ((0, 9), (9, 20)):  # a restart between the forecast and its future
            seat = Seat(journal, own, spanning(market, market.span[0], start + a * HOUR), made_ms=0)
            for step in seat.follower.advance(spanning(market, start + a * HOUR, start + b * HOUR)):
                seat.take(step, 0)
        rows = journal.rows("judged")
        said = {at: json.loads(body) for at, _, body in journal.predictions(market.symbol) if body}
    assert len(rows) == 19 + 14
    base = opened.predictor.series(market)
    targets = candle_targets(base.base_candles, ("1h", "6h"), market)
    scale = opened.predictor.calibration.variance_scale
    for row in rows:
        body, h = json.loads(row["body"]), ("1h", "6h").index(row["horizon"])
        k = int(np.searchsorted(base.close_time, row["as_of_ms"]))
        assert row["known_ms"] == targets.known_at[k, h]
        assert body["return"] == pytest.approx(targets.returns[k, h], abs=1e-12)
        assert body["log_volatility"] == pytest.approx(targets.log_volatility[k, h], abs=1e-9)
        forecast = said[row["as_of_ms"]]
        quantiles, levels = np.array([forecast["quantiles"][h]]), tuple(forecast["levels"])
        assert body["crps"] == pytest.approx(float(crps(quantiles, [body["return"]], levels)[0]))
        assert body["covered"]["0.9"] == float(covered(quantiles, [body["return"]], levels, 0.9)[0])
        assert body["qlike"] == pytest.approx(float(qlike([body["log_volatility"]], [forecast["log_volatility"][h]], scale[h])[0]))
        alone = rival.outputs(base, np.array([k]))
        assert body["rivals"]["persistence"]["crps"] == pytest.approx(
            float(crps(alone.quantiles[:, h].astype(float), [body["return"]], alone.levels)[0]), rel=1e-5
        )


def test_a_forecast_whose_future_is_absent_is_noted_and_counts_nowhere(opened: Opened, market: Candles, tmp_path: Path) -> None:
    gone = int(market.open_time[len(market) // 2])
    hours = [int(t) for t in range(int(market.span[0]) + 700 * HOUR, market.span[1], HOUR) if not len(spanning(market, t, t + HOUR))]
    assert gone
    assert hours
    start = hours[0] - 3 * HOUR
    with writing_journal(tmp_path) as journal:
        seat = Seat(journal, opened, spanning(market, market.span[0], start), made_ms=0)
        for step in seat.follower.advance(spanning(market, start, start + 14 * HOUR)):
            seat.take(step, 0)
        bodies = {(row["as_of_ms"], row["horizon"]): json.loads(row["body"]) for row in journal.rows("judged")}
        closes = {at for at, _, _ in journal.predictions(market.symbol)}
    assert bodies[hours[0], "1h"]["return"] is None
    assert hours[0] + HOUR not in closes
    assert len(seat.judge.newest["1h"]) == sum(body["return"] is not None for (_, h), body in bodies.items() if h == "1h")


def test_a_return_is_judged_where_the_volatility_is_not_known_and_the_journal_is_read_again(
    opened: Opened, market: Candles, tmp_path: Path
) -> None:
    """SQLite reads no NaN in JSON: a judged row with one would have kept the loop from ever beginning again."""
    model: Any = opened.predictor.model
    own = replace(opened, rivals=(Rival("persistence", model.members["persistence"], opened.predictor.calibration),))
    close = int(market.span[0]) + 760 * HOUR
    quarters = (market.open_time >= close) & (market.open_time < close + HOUR)
    assert quarters.sum() == 4
    kept = spanning(market.rows(np.flatnonzero(~quarters | (market.open_time == close + 45 * 60_000))), *market.span)
    start = close - 2 * HOUR
    with writing_journal(tmp_path) as journal:
        seat = Seat(journal, own, spanning(kept, market.span[0], start), made_ms=0)
        for step in seat.follower.advance(spanning(kept, start, start + 4 * HOUR)):
            seat.take(step, 0)
        bodies = {row["as_of_ms"]: json.loads(row["body"]) for row in journal.rows("judged") if row["horizon"] == "1h"}
        assert bodies[close]["return"] is not None
        assert bodies[close]["log_volatility"] is None
        assert bodies[close]["qlike"] is None
        again = Seat(journal, own, spanning(kept, market.span[0], start + 4 * HOUR), made_ms=0)
    assert np.isnan(again.judge.newest["1h"].column("qlike")).sum() == 1


def judged(loss: float, rival: float, hit: float = 1.0) -> dict[str, Any]:
    return {
        "crps": loss, "pinball": loss, "qlike": loss, "covered": {"0.5": hit, "0.8": hit, "0.9": hit},
        "rivals": {"har": {"crps": rival, "qlike": rival}},
    }  # fmt: skip


def losses(bodies: list[dict[str, Any]], window: int = 400) -> Losses:
    made = Losses(window, ["har"])
    for body in bodies:
        made.add(body)
    return made


def test_only_the_newest_are_kept() -> None:
    made = losses([judged(float(k), 1.0) for k in range(25)], window=10)
    assert made.column("crps").tolist() == list(range(15, 25))
    assert len(made) == 10
    assert np.isnan(made.column("crps ewma")).all()


def test_rolling_figures_are_the_mean_losses_and_the_skill_over_them() -> None:
    random = np.random.default_rng(0)
    ones = [judged(0.9 + 0.1 * x, 1.0 + 0.1 * x, float(x > -1.3)) for x in random.normal(size=400)]
    found = rolling([losses(ones[:300]), losses(ones[300:])], "1h", 1, 24)
    assert found.sure
    assert found.bars == 400
    assert found.pinball == pytest.approx(np.mean([one["pinball"] for one in ones]))
    skill = found.skill["crps", "har"]
    assert skill.value == pytest.approx(1 - sum(o["crps"] for o in ones) / sum(o["rivals"]["har"]["crps"] for o in ones))
    assert skill.low < skill.value < skill.high
    assert skill.low > 0.05
    assert found.coverage[0.9].value == pytest.approx(np.mean([one["covered"]["0.9"] for one in ones]))
    few = rolling([losses(ones[:10])], "1h", 1, 24)
    assert math.isnan(few.skill["crps", "har"].low)
    assert rolling([losses([])], "1h", 1, 24).bars == 0


def test_a_warning_when_the_live_interval_leaves_the_promised_one() -> None:
    random = np.random.default_rng(1)
    ones = [judged(1.2 + 0.1 * x, 1.0, float(x > 0)) for x in random.normal(size=300)]
    found = rolling([losses(ones)], "1h", 1, 24)
    promise = Promise(
        {("1h", "crps", "har"): Interval(0.05, 0.02, 0.08), ("1h", "qlike", "har"): Interval(-0.2, -0.3, -0.1)},
        {("1h", 0.9): Interval(0.9, 0.88, 0.92), ("1h", 0.5): Interval(0.5, 0.4, 0.6)},
    )
    said = warnings(found, promise)
    assert len(said) == 2
    assert "skill in quantile loss over har" in said[0]
    assert "90 % intervals hold" in said[1]
    assert warnings(found, Promise({}, {})) == []
    assert warnings(rolling([losses(ones)], "1h", 1, 100), promise) == []  # three blocks are too few to be sure
    assert not Promise({}, {})


def test_promises_are_read_from_the_metrics_of_a_bundle(tmp_path: Path) -> None:
    assert not read_promise(tmp_path, "arms")
    figure = {"value": 0.9, "standard_error": None, "low": 0.88, "high": None}
    comparison = {"horizon": "1h", "baseline": "har", "value": 0.1, "low": 0.05, "high": 0.2}
    values = {
        "models": [{"model": "arms", "horizon": "1h", "figures": {"coverage_90": figure, "mae": figure}}],
        "comparisons": [{**comparison, "model": m, "measure": k} for m, k in (("arms", "crps"), ("arms", "mse"), ("har", "crps"))],
    }
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    promise = read_promise(tmp_path, "arms")
    assert promise.skill == {("1h", "crps", "har"): Interval(0.1, 0.05, 0.2)}
    (interval,) = promise.coverage.values()
    assert (interval.value, interval.low) == (0.9, 0.88)
    assert math.isnan(interval.high)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(BundleError, match="is damaged"):
        read_promise(tmp_path, "arms")


def test_the_index_of_drift() -> None:
    assert psi([0.25] * 4, [10, 10, 10, 10]) == 0.0
    assert psi([0.5, 0.5], [100, 0]) == pytest.approx((0.995025 - 0.5) * np.log(1.99005) * 1 - (0.5 - 0.004975) * np.log(0.00995), abs=1e-3)
    assert math.isnan(psi([0.5, 0.5], [0, 0]))


def test_drift_is_seen_and_a_quiet_market_is_not(opened: Opened, market: Candles, tmp_path: Path) -> None:
    predictor: Predictor = opened.predictor
    series = predictor.series(market)
    train = np.arange(400, 1000)
    edges = input_edges([series], [train], window=100)
    assert "target_hour" not in "".join(edges["features"])
    write_edges(tmp_path, edges)
    known = read_edges(tmp_path)
    assert known == edges
    assert read_edges(tmp_path / "elsewhere") is None
    assert known is not None
    drift = Drift(known, "1h")
    assert drift.figures() == {}
    for row in train[:100]:
        drift.add(series, row)
    assert not drift.drifted()
    wild = market.rows(slice(0, 2400))
    louder = Candles.of(market.symbol, "15m", wild.open_time, *[_louder(wild, k) for k in range(4)], wild.volume)
    other = predictor.series(louder)
    moved = Drift(known, "1h", other)
    assert moved.bars == 100
    assert moved.drifted()
    (tmp_path / "inputs.json").write_text("[]")
    with pytest.raises(BundleError, match="is damaged"):
        read_edges(tmp_path)


def _louder(candles: Candles, column: int) -> np.ndarray[Any, Any]:
    level = np.log(candles.close[0])
    return np.exp(level + 5 * (np.log(candles.values()[column]) - level))


def test_a_judge_leaves_alone_what_lies_too_far_back(opened: Opened, market: Candles, tmp_path: Path) -> None:
    start = int(market.span[0]) + 730 * HOUR
    with writing_journal(tmp_path) as journal:
        seat = Seat(journal, opened, spanning(market, market.span[0], start), made_ms=0)
        for step in seat.follower.advance(spanning(market, start, start + 3 * HOUR)):
            seat.take(step, 0)
        recipe, scale = opened.predictor.recipe, opened.predictor.calibration.variance_scale
        later = Judge(journal, market.symbol, recipe, (), scale, opened.id, since_ms=start + 2 * HOUR)
        assert [at for at, _ in later._waiting["6h"]] == [start + 3 * HOUR]
        assert len(later.newest["1h"]) == 2
        other = Judge(journal, market.symbol, recipe, (), scale, "another bundle")
        assert not other._waiting["6h"]
        assert not len(other.newest["1h"])
