"""What the report is filled with: times as times, one best baseline, one vocabulary."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.quality import inspect
from candelabra.config.tree import Config
from candelabra.evaluation.results import Comparison, Evaluation, Figure, ModelFigures
from candelabra.evaluation.skill import REFERENCE
from candelabra.metrics.significance import words
from candelabra.pipeline.material import Material
from candelabra.pipeline.present import Story, _verdict, summarise
from candelabra.pipeline.present_inputs import findings

HOUR = 3_600_000


def test_a_finding_says_when_it_was_first_in_its_own_column() -> None:
    start = 1_700_002_800_000
    time = start + HOUR * np.array([0, 1, 2, 5, 6])
    price = np.array([5.0, 6.0, 5.0, 6.0, 5.0])
    candles = Candles.of("A", "1h", time, price, price, price, price, [1, 1, 0, 1, 1])
    material = cast(Material, SimpleNamespace(quality=[inspect(candles)]))
    found = {f.what: f for f in findings(material)}
    assert found["gap"].first_ms == time[3]
    assert found["zero volume"].first_ms == time[2]
    assert not found["zero volume"].detail.startswith("2023-11-15")


def judged(skill_of_mean: dict[str, float]) -> Evaluation:
    """One product and one baseline: 0.05 better in R2, 0.1 % better in CRPS, its mean with the skills given by horizon."""

    def compared(horizon: str, baseline: str, measure: str, value: float, half: float) -> Comparison:
        low, high = value - half, value + half
        return Comparison("ours", baseline, horizon, measure, value, low, high, 0.01, 0.01, words(value, low, high), 1)  # type: ignore[arg-type]

    figures, comparisons = [], []
    for horizon, skill in skill_of_mean.items():
        for name in ("ours", "har", REFERENCE):
            hits = Figure(0.53, 0.01, 0.51, 0.55) if name == "ours" and skill else Figure(math.nan)
            own = {"r2": Figure(0.4, 0.01, 0.38, 0.42), "crps": Figure(0.01), "mse": Figure(1e-4), "direction": hits, "rank_ic": hits}
            figures.append(ModelFigures(name, horizon, own))
        comparisons += [compared(horizon, "har", "r2", 0.05, 0.01), compared(horizon, "har", "crps", 0.001, 0.0005)]
        comparisons.append(compared(horizon, REFERENCE, "mse", skill, 0.002 if skill else 0.0))
    up = dict.fromkeys(skill_of_mean, 0.52)
    return Evaluation(("A",), tuple(skill_of_mean), 0, 1, tuple(figures), tuple(comparisons), (), up, 7, 100, 0, 1)


def test_horizons_without_a_mean_share_two_rows_that_say_so() -> None:
    found = judged({"1h": 0.01, "6h": 0.0, "24h": 0.0})
    story = cast(Story, SimpleNamespace(evaluation=found, product="ours"))
    rows = {row.what: row for row in _verdict(story)}
    assert list(rows)[-2:] == ["Mean return, 6h, 24h", "Direction, 6h, 24h"]
    assert rows["Mean return, 1h"].words == "clearly better"
    assert rows["Direction, 1h"].baseline_value == 0.52
    assert rows["Direction, 6h, 24h"].words == "no forecast, the mean was shrunk to 0 on validation"
    assert (rows["Return distribution, 24h"].words, rows["Return distribution, 24h"].tone) == ("better, too little to matter", "level")
    assert rows["Volatility, 24h"].tone == "better"


def test_the_summary_says_in_the_same_words_what_the_longest_horizon_is_worth() -> None:
    said = summarise(judged({"1h": 0.01, "24h": 0.0}), "ours", Config())
    assert said == (
        "Next 24h, volatility (R² 0.40): clearly better than the best baseline, har. Next 24h, distribution of returns: better than the "
        "best baseline, har, too little to matter. Next 24h, mean return: no forecast, the mean was shrunk to 0 on validation."
    )
