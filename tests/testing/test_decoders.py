"""Decoders of regimes under the audit: ours are never revised, and those that peek, mend or lag are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.evaluation.subject import Effort
from candelabra.regimes.hysteresis import HysteresisSettings, hysteresis, hysteresis_run
from candelabra.regimes.statechart import RegimeChart
from candelabra.testing import LawBroken, check_decisions, check_decoder, example_probabilities

HOUR = 3_600_000
WORDS = ("a", "b", "c")
Floats = NDArray[np.float64]


@pytest.mark.parametrize(
    ("settings", "delay"),
    [
        (HysteresisSettings(), 0),
        (HysteresisSettings(enter=0.7, confirm=3), 2),
        (HysteresisSettings(enter=(0.4, 0.5, 0.9), confirm=2, min_hold=12), 1),
    ],
)
def test_hysteresis_is_never_revised(settings: HysteresisSettings, delay: int) -> None:
    audit = check_decoder(lambda p: hysteresis(p, settings), delay=delay)
    assert audit.passed
    assert audit.rows == 300
    with pytest.raises(LawBroken, match="leave the state at"):
        check_decoder(lambda p: np.concatenate([[-1], hysteresis(p, settings)[:-1]]), delay=delay)


def test_all_that_hysteresis_remembers_is_causal_and_hears_of_the_newest_bar() -> None:
    """A state that waits cannot be asked to move with the newest bar; its age and its candidate can."""
    settings = HysteresisSettings(enter=0.6, confirm=3, min_hold=5)
    p = example_probabilities(400)

    def everything(arrays: Mapping[str, Floats]) -> Any:
        run = hysteresis_run(arrays["p"], settings)
        return {"state": run.code, "age": run.age, "candidate": run.candidate, "count": run.count}

    assert check_decisions(everything, {"p": p}, np.arange(400) * HOUR).passed


def test_the_statechart_is_never_revised() -> None:
    settings = {"1h": HysteresisSettings(enter=0.5, confirm=2), "4h": HysteresisSettings(enter=0.4, min_hold=3)}
    streams = {"1h": example_probabilities(90, seed=1), "4h": example_probabilities(90, seed=2)}

    def states(arrays: Mapping[str, Floats]) -> Any:
        chart = RegimeChart(settings, dict.fromkeys(settings, WORDS))
        out: dict[str, list[int]] = {name: [] for name in settings}
        for t in range(len(arrays["1h"])):
            chart.send_bar(t * 4 * HOUR, {name: arrays[name][t] for name in settings})
            for name, state in chart.states.items():
                out[name].append(state.state)
        return {name: np.array(codes) for name, codes in out.items()}

    effort = Effort(moments=3, early=1, steps=4, positions=4)
    assert check_decisions(states, streams, np.arange(90) * 4 * HOUR, effort=effort).passed


def merged(p: Floats) -> Any:
    """Short stretches taken back once it is seen that they were short: what a chart in hindsight shows."""
    code = np.argmax(np.nan_to_num(p), axis=1)
    first = np.flatnonzero(np.diff(code, prepend=-1))
    for begin, end in zip(first[1:], np.append(first[2:], len(code)), strict=True):
        if end < len(code) and end - begin < 4:
            code[begin:end] = code[begin - 1]
    return code


def best_path(p: Floats) -> Any:
    """Viterbi over the whole history, its path shown as if it had been known."""
    log = np.log(np.where(np.isfinite(p), np.maximum(p, 1e-3), 1 / 3))
    move = np.log(np.full((3, 3), 0.02) + 0.94 * np.eye(3))
    score, back = log[0], np.zeros(p.shape, int)
    for t in range(1, len(p)):
        ways = score[:, None] + move
        back[t], score = ways.argmax(axis=0), ways.max(axis=0) + log[t]
    path = [int(score.argmax())]
    for t in range(len(p) - 1, 0, -1):
        path.append(int(back[t][path[-1]]))
    return np.array(path[::-1])


def filled_back(p: Floats) -> Any:
    """Unknown bars given the next known label."""
    code = np.argmax(np.nan_to_num(p), axis=1)
    known = np.isfinite(p).all(axis=1)
    after = np.minimum.accumulate(np.where(known, np.arange(len(p)), len(p))[::-1])[::-1]
    return np.where(after < len(p), code[np.minimum(after, len(p) - 1)], -1)


@pytest.mark.parametrize("peeking", [merged, best_path, filled_back])
def test_decoders_that_look_back_from_later_are_named(peeking: Callable[[Floats], Any]) -> None:
    with pytest.raises(LawBroken, match=r"state at .* reads \d+ rows? ahead"):
        check_decoder(peeking, delay=3)


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(LawBroken, match=r"states of shape \(300, 3\) for 300 bars"):
        check_decoder(lambda p: p)
    with pytest.raises(LawBroken, match="states of type float64"):
        check_decoder(lambda p: p[:, 0])
    with pytest.raises(LawBroken, match=r"state \[5\] at bar 0: codes go from -1 \(none\) to 2"):
        check_decoder(lambda p: np.full(len(p), 5))
    random = np.random.default_rng(0)
    with pytest.raises(LawBroken, match="gave other states"):
        check_decoder(lambda p: random.integers(0, 3, len(p)))
