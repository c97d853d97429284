"""`Hindsight`: the type of everything that knows the future by nature (targets, hindsight labels, true regimes)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError

__all__ = ["Hindsight", "refuse_hindsight"]


class Hindsight:
    """Marks values that read bars after the row they stand in; ``known_at`` (ms UTC) says from when each may be used.

    Features, rules and live code must refuse it: call :func:`refuse_hindsight` at their doors.
    """

    known_at: NDArray[np.int64]


def refuse_hindsight(purpose: str, *values: Any) -> None:
    """Raise UsageError when one of ``values`` is `Hindsight`; ``purpose`` names what it was given to."""
    for value in values:
        if isinstance(value, Hindsight):
            raise UsageError(
                f"{purpose} was given {type(value).__name__}, which knows the future: only targets, labels and their "
                "evaluation may read it; pass what was known at the close of the bar"
            )
