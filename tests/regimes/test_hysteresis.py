"""Hysteresis is the rule as it is written down, says the same bar by bar, and revises nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.regimes.hysteresis import NO_STATE, HysteresisSettings, HysteresisState, hysteresis, hysteresis_run, step

LABELS = 3
COARSE = st.sampled_from([0.0, 0.25, 0.5, 0.5, 0.6, 0.75, 1.0])  # few values: ties and values at the threshold are common
ROW = st.one_of(
    st.lists(COARSE, min_size=LABELS, max_size=LABELS),
    st.lists(st.floats(0, 1), min_size=LABELS, max_size=LABELS),
    st.sampled_from([[np.nan] * LABELS, [0.2, np.nan, 0.8], [0.9, np.inf, 0.1]]),
)
STREAM = st.lists(ROW, max_size=60).map(lambda rows: np.array(rows, np.float64).reshape(-1, LABELS))
ENTER = st.one_of(COARSE, st.tuples(COARSE, COARSE, COARSE))
SETTINGS = st.builds(HysteresisSettings, enter=ENTER, confirm=st.integers(1, 4), min_hold=st.integers(0, 6))


def as_written(stream: NDArray[np.float64], settings: HysteresisSettings) -> list[int]:
    """The rule, word for word."""
    enter = settings.thresholds(LABELS)
    state, age, candidate, count = None, 0, None, 0
    out = []
    for p in stream:
        age += 1
        if not np.isfinite(p).all():
            candidate, count = None, 0
        else:
            best = int(np.argmax(p))
            if state is None:
                state, age = best, 0
            elif best == state or p[best] < enter[best]:
                candidate, count = None, 0
            else:
                if best == candidate:
                    count += 1
                else:
                    candidate, count = best, 1
                if count >= settings.confirm and age >= settings.min_hold:
                    state, age, candidate, count = best, 0, None, 0
        out.append(NO_STATE if state is None else state)
    return out


@given(STREAM, SETTINGS)
def test_history_is_the_rule_word_for_word(stream: NDArray[np.float64], settings: HysteresisSettings) -> None:
    code = hysteresis(stream, settings)
    assert code.dtype == np.int16
    assert code.tolist() == as_written(stream, settings)


@given(STREAM, SETTINGS)
def test_bar_by_bar_is_history_to_the_bit(stream: NDArray[np.float64], settings: HysteresisSettings) -> None:
    run = hysteresis_run(stream, settings)
    now = HysteresisState()
    for t, p in enumerate(stream):
        now = step(now, p, settings)
        assert now == HysteresisState(int(run.code[t]), int(run.age[t]), int(run.candidate[t]), int(run.count[t]))
    assert now == run.end
    assert len(run) == len(stream)


@given(STREAM, SETTINGS, st.integers(0, 60))
def test_a_run_goes_on_where_another_ended(stream: NDArray[np.float64], settings: HysteresisSettings, cut: int) -> None:
    whole = hysteresis_run(stream, settings)
    head = hysteresis_run(stream[:cut], settings)
    tail = hysteresis_run(stream[cut:], settings, head.end)
    assert np.concatenate([head.code, tail.code]).tolist() == whole.code.tolist()
    assert tail.end == whole.end


@given(STREAM, STREAM, SETTINGS)
def test_what_comes_later_revises_nothing(stream: NDArray[np.float64], other: NDArray[np.float64], settings: HysteresisSettings) -> None:
    known = hysteresis(stream, settings)
    assert hysteresis(np.concatenate([stream, other]), settings)[: len(stream)].tolist() == known.tolist()


@given(STREAM, SETTINGS)
def test_a_state_lasts_as_long_as_it_must(stream: NDArray[np.float64], settings: HysteresisSettings) -> None:
    code = hysteresis(stream, settings)
    begins = np.flatnonzero(np.diff(code)) + 1
    held = np.diff(begins)  # the first stretch may be the one without a state, the last is not over
    assert (held >= max(1, settings.min_hold)).all()
    known = np.isfinite(stream).all(axis=1)
    assert known[begins].all(), "an unknown bar changed the state"
    assert (code[begins] == np.argmax(stream[begins], axis=1)).all()


def test_ties_thresholds_and_unknown_bars() -> None:
    settings = HysteresisSettings(enter=0.5, confirm=2)
    up, down, tie, unknown = [0.9, 0.1], [0.1, 0.9], [0.5, 0.5], [np.nan, np.nan]
    assert hysteresis([unknown, tie, down, down], settings).tolist() == [-1, 0, 0, 1], "the first of equals is the first state"
    assert hysteresis([up, [0.4, 0.5], [0.0, 0.5]], settings).tolist() == [0, 0, 1], "at the threshold is enough"
    assert hysteresis([up, [0.4, 0.49999], down, down], settings).tolist() == [0, 0, 0, 1], "below it is not"
    assert hysteresis([up, down, unknown, down, down], settings).tolist() == [0, 0, 0, 0, 1], "an unknown bar starts the count again"
    assert hysteresis([up, down, tie, down, down], settings).tolist() == [0, 0, 0, 0, 1], "the first of equals is the state itself"
    held = HysteresisSettings(enter=0.5, min_hold=3)
    assert hysteresis([up, down, down, unknown, down], held).tolist() == [0, 0, 0, 0, 1], "an unknown bar is a bar of its age"
    assert hysteresis(np.zeros((0, 2)), settings).tolist() == []
    assert hysteresis([[0.3], [0.9]], settings).tolist() == [0, 0], "one label is always the state"


def test_narrow_floats_are_compared_as_they_are() -> None:
    """0.6 as float32 is above 0.6, 0.7 below 0.7: a stream must not round what history did not."""
    narrow = np.array([[0.9, 0.1], [0.4, 0.6], [0.9, 0.1], [0.3, 0.7]], np.float32)
    assert hysteresis(narrow, HysteresisSettings(enter=0.6)).tolist() == [0, 1, 0, 1]
    assert hysteresis(narrow, HysteresisSettings(enter=0.7)).tolist() == [0, 0, 0, 0]


def test_settings_are_values() -> None:
    made = HysteresisSettings(enter=[0.5, 1], confirm=np.int64(2))  # type: ignore[arg-type]
    assert made == HysteresisSettings((0.5, 1.0), 2)
    assert hash(made) == hash(HysteresisSettings((0.5, 1.0), 2))
    assert HysteresisSettings(enter=np.float32(0.5)).enter == 0.5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"enter": 60}, "enter = 60 is not a probability: give a number from 0 to 1"),
        ({"enter": float("nan")}, "not a probability"),
        ({"enter": "0.6"}, "enter = '0.6' is not a probability"),
        ({"enter": True}, "not a probability"),
        ({"enter": (0.5, -0.1)}, "enter = -0.1"),
        ({"enter": ()}, "no threshold"),
        ({"confirm": 0}, "confirm = 0 is not a number of bars: give a whole number, 1 or more"),
        ({"confirm": 1.5}, "confirm = 1.5"),
        ({"confirm": True}, "confirm = True"),
        ({"min_hold": -1}, "min_hold = -1 is not a number of bars: give a whole number, 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace(")", r"\)")):
        HysteresisSettings(**settings)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused() -> None:
    settings = HysteresisSettings(enter=(0.5, 0.6))
    with pytest.raises(UsageError, match="2 thresholds for 3 labels"):
        hysteresis(np.zeros((4, 3)), settings)
    with pytest.raises(UsageError, match=r"shape \(4,\): give \(bars, labels\)"):
        hysteresis(np.zeros(4), settings)
    with pytest.raises(UsageError, match="one for each label of one bar"):
        step(HysteresisState(), np.zeros((1, 2)), settings)
    for state in (HysteresisState(2, 0), HysteresisState(0, -1), HysteresisState(0, 3, 1, 0), HysteresisState(0, 3, -1, 2)):
        with pytest.raises(UsageError, match="no state of hysteresis over 2 labels"):
            step(state, [0.5, 0.5], settings)
