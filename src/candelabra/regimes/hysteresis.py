"""Hysteresis: a regime changes only when another has led clearly for long enough. One rule, over history or bar by bar.

On each bar with probabilities ``p`` of the K labels: the age of the state grows by one; the leader is the most probable label (the first
of equals). A leader that is the state itself, or whose probability is below ``enter``, clears the candidate. Any other leader becomes
the candidate, or is counted once more if it is that already; counted ``confirm`` times in a row, and the state being ``min_hold`` bars
old, it becomes the state. A bar of unknown probabilities holds the state, and clears the candidate. The first leader ever is the first
state; before it there is none.

Each bar is decided from that bar and the state before it, so nothing is revised later and a stream gives what the history gives, to the
bit. `statechart.RegimeChart` is the same rule for a live program.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import UsageError

__all__ = ["NO_STATE", "HysteresisRun", "HysteresisSettings", "HysteresisState", "hysteresis", "hysteresis_run", "step"]

Whole: TypeAlias = NDArray[np.int64]

NO_STATE: Final = -1
"""Code of the state before the first bar with known probabilities, and of a candidate when there is none."""


@dataclass(frozen=True)
class HysteresisSettings:
    """How sure and how often another label must lead before it becomes the state of one timeframe.

    ``enter``: the least probability, one for all labels or one each in their order; ``confirm``: on how many bars in a row (1: at once);
    ``min_hold``: how many bars a state lasts at least (0: no limit).

    >>> HysteresisSettings(enter=(0.5, 0.7), confirm=3).thresholds(2).tolist()
    [0.5, 0.7]
    """

    enter: float | tuple[float, ...] = 0.5
    confirm: int = 1
    min_hold: int = 0

    def __post_init__(self) -> None:
        several = isinstance(self.enter, Iterable) and not isinstance(self.enter, str)
        given: tuple[object, ...] = tuple(self.enter) if several else (self.enter,)  # type: ignore[arg-type]
        for value in given:
            if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
                raise UsageError(f"enter = {value!r} is not a probability: give a number from 0 to 1, as in 0.6, or one for each label")
        if not given:
            raise UsageError("enter = () has no threshold: give a number from 0 to 1, or one for each label")
        for name, least in (("confirm", 1), ("min_hold", 0)):
            bars = getattr(self, name)
            if isinstance(bars, bool) or not isinstance(bars, Integral) or bars < least:
                raise UsageError(f"{name} = {bars!r} is not a number of bars: give a whole number, {least} or more")
            object.__setattr__(self, name, int(bars))
        numbers = tuple(float(v) for v in given)  # type: ignore[arg-type]
        object.__setattr__(self, "enter", numbers if several else numbers[0])

    def thresholds(self, labels: int) -> NDArray[np.float64]:
        """The threshold of each of so many labels ``(K,)``; UsageError when there are others."""
        if isinstance(self.enter, float):
            return np.full(labels, self.enter)
        if len(self.enter) != labels:
            raise UsageError(f"enter has {len(self.enter)} thresholds for {labels} labels: give one for each, or one number for all")
        return np.array(self.enter)


@dataclass(frozen=True)
class HysteresisState:
    """Where the rule stands after a bar: all that the next bar needs to know of the past.

    ``state``: code of the label (`NO_STATE`: none yet); ``age``: bars since the one it began on, 0 on that bar (-1 before any bar);
    ``candidate``: the label that has been leading instead, ``count`` bars in a row (`NO_STATE` and 0: none).
    """

    state: int = NO_STATE
    age: int = -1
    candidate: int = NO_STATE
    count: int = 0

    def check(self, labels: int) -> HysteresisState:
        """Itself; UsageError when the rule over so many labels could not stand here."""
        values: tuple[object, ...] = (self.state, self.age, self.candidate, self.count)
        whole = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
        codes = range(NO_STATE, labels)
        lawful = whole and self.state in codes and self.candidate in codes and self.age >= (-1 if self.state == NO_STATE else 0)
        if not lawful or self.count < 0 or (self.candidate == NO_STATE) != (self.count == 0):
            raise UsageError(f"{self} is no state of hysteresis over {labels} labels: pass one on as it was given, with its own labels")
        return self


@dataclass(frozen=True, eq=False)
class HysteresisRun:
    """The rule over some bars, per bar ``(n,)``: as `HysteresisState` says, ``code`` (the state) and ``candidate`` int16."""

    code: NDArray[np.int16]
    age: Whole
    candidate: NDArray[np.int16]
    count: Whole
    end: HysteresisState
    """Where the rule stands after the last bar: from here on go `step`, another run, or a `statechart.RegimeChart`."""

    def __len__(self) -> int:
        return len(self.code)


def hysteresis(probabilities: ArrayLike, settings: HysteresisSettings) -> NDArray[np.int16]:
    """The state at each bar ``(n,)`` int16, `NO_STATE` before the first known one, from probabilities ``(n, K)`` (NaN: unknown).

    >>> up, down = [0.8, 0.2], [0.1, 0.9]
    >>> hysteresis([up, down, up, down, down, down], HysteresisSettings(enter=0.6, confirm=2)).tolist()
    [0, 0, 0, 0, 1, 1]
    """
    return hysteresis_run(probabilities, settings).code


def hysteresis_run(probabilities: ArrayLike, settings: HysteresisSettings, start: HysteresisState | None = None) -> HysteresisRun:
    """`hysteresis` with ages and candidates, from where an earlier run ended (default: from nothing)."""
    p = np.ascontiguousarray(probabilities, np.float64)
    if p.ndim != 2 or not p.shape[1]:
        raise UsageError(f"hysteresis got probabilities of shape {p.shape}: give (bars, labels), with at least one label")
    labels = p.shape[1]
    begin = (start or HysteresisState()).check(labels)
    out = np.empty((4, len(p)), np.int64)
    first = (begin.state, begin.age, begin.candidate, begin.count)
    last = _follow(p, settings.thresholds(labels), settings.confirm, settings.min_hold, first, out)
    return HysteresisRun(out[0].astype(np.int16), out[1], out[2].astype(np.int16), out[3], HysteresisState(*last))


def step(state: HysteresisState, probabilities: ArrayLike, settings: HysteresisSettings) -> HysteresisState:
    """Where the rule stands after one more bar with probabilities ``(K,)``: what `hysteresis_run` gives for it, to the bit.

    >>> step(HysteresisState(), [0.3, 0.7], HysteresisSettings())
    HysteresisState(state=1, age=0, candidate=-1, count=0)
    """
    p = np.ascontiguousarray(probabilities, np.float64)
    if p.ndim != 1 or not len(p):
        raise UsageError(f"a step of hysteresis got probabilities of shape {p.shape}: give one for each label of one bar")
    state.check(len(p))
    before = (state.state, state.age, state.candidate, state.count)
    return HysteresisState(*_next(p, settings.thresholds(len(p)), settings.confirm, settings.min_hold, before))


@njit(cache=True)
def _next(
    p: NDArray[np.float64], enter: NDArray[np.float64], confirm: int, min_hold: int, before: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """State, age, candidate and count after one bar."""
    state, age, candidate, count = before
    age += 1
    best = 0
    for k in range(len(p)):
        if not np.isfinite(p[k]):
            return state, age, -1, 0
        if p[k] > p[best]:
            best = k
    if state == -1:
        return best, 0, -1, 0
    if best == state or p[best] < enter[best]:
        return state, age, -1, 0
    count = count + 1 if best == candidate else 1
    if count >= confirm and age >= min_hold:
        return best, 0, -1, 0
    return state, age, best, count


@njit(cache=True)
def _follow(
    p: NDArray[np.float64], enter: NDArray[np.float64], confirm: int, min_hold: int, first: tuple[int, int, int, int], out: Whole
) -> tuple[int, int, int, int]:
    """`_next` from bar to bar, written to ``out`` ``(4, n)``."""
    now = first
    for t in range(len(p)):
        now = _next(p[t], enter, confirm, min_hold, now)
        out[0, t], out[1, t], out[2, t], out[3, t] = now
    return now
