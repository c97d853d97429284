"""What an exchange answered about funding rates, as checked arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from candelabra.sources.exchanges.funding import Funding
from candelabra.sources.exchanges.pages import BadPage

__all__ = ["rates_of"]


def rates_of(rows: list[Any], json: Any, start_ms: int, end_ms: int, simulated: bool, what: str) -> Funding:
    """The ``rows`` that ccxt made of an answer's ``json``; BadPage when rows were lost on the way, repeat, lie outside, or are no rates."""
    if not _has_list(json, len(rows)):
        raise BadPage(f"{what}: the answer has no list of {len(rows)} rates in it ({type(json).__name__}): ask again")
    try:
        times = np.array([row["timestamp"] for row in rows], np.float64)
        rates = np.array([row["fundingRate"] for row in rows], np.float64)
    except (TypeError, ValueError, KeyError) as error:
        raise BadPage(f"{what}: the answer has rows that are no rates ({error!r}): ask again") from error
    if not (np.isfinite(times).all() and np.isfinite(rates).all() and (np.abs(rates) < 1.0).all() and (np.diff(times) > 0).all()):
        raise BadPage(f"{what}: the answer has times or rates that cannot be, or one twice: ask again")
    if len(times) and not (start_ms <= times[0] and times[-1] < end_ms):
        raise BadPage(f"{what}: the answer has rates that were not asked for: ask again")
    return Funding(times.astype(np.int64), rates, ((start_ms, end_ms),), simulated)


def _has_list(json: Any, length: int, depth: int = 4) -> bool:
    if isinstance(json, list):
        return len(json) == length
    return bool(depth) and isinstance(json, dict) and any(_has_list(value, length, depth - 1) for value in json.values())
