"""`check_decoder`: the laws of a causal decoder, from probabilities of labels to the regime held at each bar, on made-up probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.evaluation.findings import Audit
from candelabra.evaluation.subject import Effort
from candelabra.testing.audits import check_decisions
from candelabra.testing.broken import require

__all__ = ["check_decoder", "example_probabilities"]

Decoder: TypeAlias = Callable[[NDArray[np.float64]], ArrayLike]
_HOUR_MS = 3_600_000
_LONG = 200


def example_probabilities(bars: int = 300, labels: int = 3, seed: int = 0) -> NDArray[np.float64]:
    """Probabilities ``(bars, labels)`` of regimes that last and are seen through noise; a few stretches are NaN, a few rows are tied."""
    random = np.random.default_rng(seed)
    truth = np.repeat(random.integers(0, labels, bars), random.integers(2, 30, bars))[:bars]
    score = 1.5 * np.eye(labels)[truth] + random.normal(0, 1, (bars, labels))
    p: NDArray[np.float64] = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    p[random.random(bars) < 0.03] = 1 / labels
    for first in random.integers(0, bars, bars // 60):
        p[first : first + 5] = np.nan
    return p


def check_decoder(
    decode: Decoder, *, labels: int = 3, delay: int = 0, probabilities: NDArray[np.float64] | None = None, effort: Effort | None = None
) -> Audit:
    """LawBroken, with what, where and by how much, unless a decoder keeps the laws.

    ``decode``: probabilities ``(n, K)``, NaN where unknown -> codes ``(n,)`` of the labels, -1 for none. ``delay``: on how many bars
    before the newest it waits to be sure, beyond that one.

    - codes are whole numbers from -1 to K - 1, one a bar; the same probabilities give the same codes;
    - never revised: changing, dropping or adding later bars moves no state, and history cut at a bar gives that bar's state;
    - fresh: after a long time of one label, ``delay + 1`` bars that are certain of another make that one the state.

    >>> from candelabra.regimes.hysteresis import HysteresisSettings, hysteresis
    >>> check_decoder(lambda p: hysteresis(p, HysteresisSettings(enter=0.5, confirm=3)), delay=2).passed
    True
    >>> check_decoder(lambda p: hysteresis(p, HysteresisSettings(confirm=3)), delay=1)
    Traceback (most recent call last):
    ...
    candelabra.testing.broken.LawBroken: 2 bars certain of label 1 after 200 of label 0 leave the state at 0: a decoder that waits is \
told so with delay, any other is late
    """
    p = example_probabilities(labels=labels) if probabilities is None else np.asarray(probabilities, np.float64)
    held = _codes(decode, p)
    require(bool((_codes(decode, p) == held).all()), "the same probabilities gave other states")
    for before in range(labels):
        for after in (k for k in range(labels) if k != before):
            certain = np.eye(labels)[[before] * _LONG + [after] * (delay + 1)]
            newest = int(_codes(decode, certain)[-1])
            bars = "1 bar" if delay == 0 else f"{delay + 1} bars"
            require(
                newest == after,
                f"{bars} certain of label {after} after {_LONG} of label {before} leave the state at {newest}: a decoder that waits is "
                "told so with delay, any other is late",
            )
    times = (np.arange(len(p), dtype=np.int64) + 1) * _HOUR_MS
    if effort is None:  # also just where nothing is known any more: what fills backwards shows nowhere else
        blind = np.flatnonzero(np.diff((~np.isfinite(p).all(axis=1)).astype(np.int8), prepend=0) == 1)[:5]
        spread = np.linspace(3, len(p) - 2, 8).astype(np.int64)
        effort = Effort(at=tuple(int(times[row]) for row in sorted({*blind.tolist(), *spread.tolist()})))
    return check_decisions(lambda arrays: {"state": _codes(decode, arrays["p"])}, {"p": p}, times, fresh=False, effort=effort)


def _codes(decode: Decoder, p: NDArray[np.float64]) -> NDArray[np.int64]:
    """The states of a decoder; LawBroken when they are none."""
    given = np.asarray(decode(np.array(p)))
    require(given.shape == (len(p),), f"states of shape {given.shape} for {len(p)} bars: give one a bar")
    require(given.dtype.kind in "iu", f"states of type {given.dtype}: give codes of labels, whole numbers")
    codes = given.astype(np.int64)
    wrong = (codes < -1) | (codes >= p.shape[1])
    require(not wrong.any(), f"state {codes[wrong][:1]} at bar {int(np.argmax(wrong))}: codes go from -1 (none) to {p.shape[1] - 1}")
    return codes
