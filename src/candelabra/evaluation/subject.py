"""`Subject`: anything that turns a world into an answer, with what it declares about itself; and how hard an audit tries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from candelabra.evaluation.answers import Answer
from candelabra.evaluation.worlds import RESHAPING, WAYS, World

__all__ = ["LAWFUL", "LAW_3", "Effort", "Subject"]

LAWFUL: Final = tuple(w for w in WAYS if w != "nan")
"""Ways for what reads `Candles`, which hold no NaN."""
LAW_3: Final = 1e-5
"""Law 3's measure: two ways to the same number differ by at most this times max(|number|, the column's standard deviation)."""


@dataclass(frozen=True, eq=False)
class Subject:
    """What is audited.

    ``answer``: world -> `Answer`; it must read nothing but the world. ``rounding``: what a change of values may move (0: nothing, to the
    bit); ``reshaped``: what other rows may move (law 3). ``fresh``: ``each`` column must hear of the newest bar, ``any`` of them, or
    ``no``. ``delays``: bars by which a column lags by its own name, -1 for one that hears of no candle (the calendar). ``tail``: a world
    cut at a time -> the last row computed from as little history as is declared to be enough; None when nothing is declared.
    ``shocked_at``: closes (ms) to shock besides, at which slow columns are due. ``code``: fingerprint of what computes.
    """

    name: str
    answer: Callable[[World], Answer]
    ways: tuple[str, ...] = LAWFUL
    rounding: float = 0.0
    reshaped: float = LAW_3
    fresh: Literal["each", "any", "no"] = "each"
    delays: Mapping[str, int] = field(default_factory=dict)
    tail: Callable[[World], Answer] | None = None
    shocked_at: tuple[int, ...] = ()
    code: str = ""

    def tolerance(self, way: str) -> float:
        """How far apart two answers may be after a change."""
        return self.reshaped if way in RESHAPING else self.rounding


@dataclass(frozen=True)
class Effort:
    """How much is tried: ``moments`` spread over the history and ``early`` ones in its beginning, after which everything is changed;
    ``ways`` (all a subject allows when empty); ``positions`` and ``sizes`` of shocks; ``steps`` single candles; ``measured`` columns whose
    distance is found by bisection at several moments, the others' at one; ``told``: columns beyond so many have no distance (0: all have).
    ``at``: the moments (ms) instead, for a subject that answers for few rows.
    """

    moments: int = 6
    early: int = 4
    ways: tuple[str, ...] = ()
    positions: int = 6
    sizes: tuple[float, ...] = (0.05, -0.05, 0.3)
    steps: int = 8
    measured: int = 12
    told: int = 0
    at: tuple[int, ...] = ()

    @classmethod
    def light(cls, at: tuple[int, ...] = ()) -> Effort:
        """For subjects that take long: a trained network, a bundle."""
        ways = ("values", "shuffle", "constant", "drop", "cut", "append")
        return cls(moments=2, early=0, ways=ways, positions=3, steps=2, measured=3, at=at)
