"""Words of comparisons: law 8's vocabulary, the floor of practical size, and digits that show what the words say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.evaluation.results import Comparison, Evaluation, Figure, ModelFigures
from candelabra.evaluation.skill import REFERENCE
from candelabra.evaluation.verdict import verdict
from candelabra.evaluation.wording import best_baseline, decimals, in_words, is_shrunk, sentence
from candelabra.metrics.significance import words

NAN = Figure(math.nan)


def compared(value: float, low: float, high: float, measure: str = "r2", baseline: str = "har", trials: int = 1) -> Comparison:
    return Comparison("ours", baseline, "24h", measure, value, low, high, 0.001, 0.001, words(value, low, high), trials)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "low", "high", "measure", "said", "good"),
    [
        (0.02, 0.01, 0.03, "r2", "clearly better", True),
        (0.001, 0.0004, 0.002, "r2", "better, too little to matter", None),
        (0.0049, 0.004, 0.006, "r2", "better, too little to matter", None),
        (0.0049, 0.004, 0.006, "crps", "clearly better", True),
        (0.0024, 0.001, 0.004, "crps", "better, too little to matter", None),
        (0.004, -0.001, 0.009, "r2", "level", None),
        (-0.02, -0.05, 0.01, "r2", "behind, not clearly", None),
        (-0.001, -0.002, -0.0005, "r2", "clearly worse", False),
    ],
)
def test_words_follow_the_interval_and_better_needs_a_size_that_matters(
    value: float, low: float, high: float, measure: str, said: str, good: bool | None
) -> None:
    assert in_words(compared(value, low, high, measure)) == (said, good)


@given(st.floats(1e-7, 1), st.floats(1, 100), st.sampled_from([-1, 1]), st.integers(2, 4))
def test_an_interval_clear_of_zero_is_written_clear_of_zero(near: float, times: float, sign: int, least: int) -> None:
    low, high = sorted((sign * near, sign * near * times))
    places = decimals(low, high, least)
    assert places >= least
    assert float(f"{low:.{places}f}") * float(f"{high:.{places}f}") > 0


def evaluation(mse: Comparison, direction: Figure) -> Evaluation:
    def figures(model: str, r2: float, coverage: Figure = NAN) -> ModelFigures:
        return ModelFigures(
            model,
            "24h",
            {
                "r2": Figure(r2, 0.01, r2 - 0.02, r2 + 0.02),
                "crps": Figure(1.0 - r2),
                "mse": Figure(1.0),
                "direction": direction,
                "rank_ic": NAN,
                "coverage_90": Figure(0.985, 0.015, 0.955, 1.015),
            },
        )

    names = {"ours": 0.37, "har": 0.2, "garch": 0.36, REFERENCE: 0.0}
    against = [compared(0.37 - names[b], 0.001, 0.2, m, b) for b in ("har", "garch", REFERENCE) for m in ("r2", "crps")]
    return Evaluation(
        ("A",), ("24h",), 0, 1, tuple(figures(n, r) for n, r in names.items()), (*against, mse), (), {"24h": 0.52}, 7, 100, 0, 1
    )


def test_a_mean_shrunk_to_zero_has_a_row_on_direction_and_is_equal_to_the_zero_forecast() -> None:
    zero = compared(0.0, 0.0, 0.0, "mse", REFERENCE)
    assert is_shrunk(zero)
    rows = {r.what: r for r in verdict(evaluation(zero, NAN), "ours")}
    assert rows["direction"].words == "no forecast, the mean was shrunk to 0 on validation"
    assert rows["return MSE skill over the zero forecast"].words == "equal to the zero forecast (mean shrunk to 0)"
    assert "+0.00" not in rows["return MSE skill over the zero forecast"].figure
    moved = verdict(evaluation(compared(0.0, -0.001, 0.001, "mse", REFERENCE), Figure(0.5, 0.01, 0.48, 0.52)), "ours")
    assert next(r for r in moved if r.what == "direction").figure == "50.0 %"


def test_an_interval_of_a_share_stays_within_0_and_100_per_cent() -> None:
    rows = verdict(evaluation(compared(0.0, 0.0, 0.0, "mse", REFERENCE), Figure(0.02, 0.015, -0.01, 0.05)), "ours")
    assert next(r for r in rows if r.what.startswith("coverage")).interval == "95.5 to 100.0 %"
    assert next(r for r in rows if r.what == "direction").interval == "0.0 to 5.0 %"


def test_the_best_baseline_is_the_one_that_did_best_on_these_rows_and_never_the_reference() -> None:
    found = evaluation(compared(0.0, 0.0, 0.0, "mse", REFERENCE), NAN)
    for measure in ("r2", "crps"):
        best = best_baseline(found, "ours", "24h", measure)  # type: ignore[arg-type]
        assert best is not None
        assert best.baseline == "garch"
    assert [r.what for r in verdict(found, "ours") if r.what.startswith("volatility R2 over")] == ["volatility R2 over garch"]
    zero = best_baseline(found, "ours", "24h", "mse")
    assert zero is not None
    assert zero.baseline == REFERENCE


def test_every_verdict_reads_as_a_sentence() -> None:
    rng = np.random.default_rng(0)
    for value in rng.normal(0, 0.02, 50):
        said = sentence(in_words(compared(value, value - 0.01, value + 0.01))[0], "har")
        assert said.count("har") == 1
        assert said.split(" har")[0] in ("clearly better than", "clearly worse than", "better than", "level with", "behind")
