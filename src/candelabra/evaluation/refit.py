"""Anything with a fit: scramble what lies past the range it may read, fit again, and every weight and constant must have the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.evaluation.causality import quietly
from candelabra.evaluation.findings import Audit, Finding
from candelabra.evaluation.worlds import World

__all__ = ["Fit", "audit_fit"]

Constants: TypeAlias = Mapping[str, NDArray[Any]]
Fit: TypeAlias = Callable[[Any], Mapping[str, Any]]
"""World (or candles) -> everything that was learned or chosen, by name."""
_UNLIKE: Final = "fitted twice on the same data, it differs: it draws without a seed or keeps a state, and nothing else can be judged"
SCRAMBLES: Final = ("values", "mirror", "shuffle", "constant")


@dataclass(eq=False)
class _Refits:
    """Fits on changed worlds, counted and remembered."""

    fit: Fit
    world: World
    tried: dict[str, int]
    known: dict[tuple[str, int, int], Constants]

    def after(self, way: str, time: int, seed: int) -> Constants:
        """What is learned when everything known after ``time`` is changed."""
        if (way, time, seed) not in self.known:
            self.tried[f"refit, {way}"] = self.tried.get(f"refit, {way}", 0) + 1
            self.known[way, time, seed] = _plain(quietly(lambda: self.fit(self.world.changed(way, time, seed=seed))))
        return self.known[way, time, seed]


def audit_fit(
    name: str,
    fit: Fit,
    world: World,
    until_ms: int | Mapping[str, int],
    *,
    seeds: int = 2,
    measure: bool = True,
    hearing: bool = True,
    seed: int = 0,
    ways: tuple[str, ...] = SCRAMBLES,
    code: str = "",
) -> Audit:
    """Which constants change when what lies past their range is scrambled, and which bar past it is the last they read.

    ``fit`` must be a function of the world alone (the ends of ranges fixed beforehand, seeds too). ``until_ms``: the end of the range that
    may be read, for all constants or by the beginning of their names (the longest that fits; ``""`` for all others): bars that close later
    must not matter. ``hearing``: a real number that hears of nothing in its own range either is named in a note, for it proves nothing (two
    more fits). ``measure`` False: how far is not searched for (a dozen fits for each constant that was caught).
    """
    limits = until_ms if isinstance(until_ms, Mapping) else {"": int(until_ms)}
    base = _plain(quietly(lambda: fit(world)))
    if not base:
        raise UsageError(f"{name}: the fit gave no constants: return a mapping of names to arrays or numbers")
    refits = _Refits(fit, world, {}, {})
    found: dict[str, Finding] = {}
    repeats = False  # asked only when something moved: a fit that is not the same twice proves nothing
    for limit in sorted({_limit(limits, k) for k in base}):
        for draw in range(seeds):
            for way in ways:
                other = refits.after(way, limit, seed + draw)
                changed = [k for k in base if _limit(limits, k) == limit and k not in found and not _same(base[k], other.get(k))]
                if changed and not repeats:
                    again = _plain(quietly(lambda: fit(world)))
                    refits.tried["refit, unchanged"] = 1
                    if unlike := [k for k in base if not _same(base[k], again.get(k))]:
                        told = tuple(Finding(name, "fit", k, None, world.unit, detail=_UNLIKE) for k in unlike)
                        return Audit(name, told, refits.tried, (), len(base), len(world.times), seed, world.fingerprint, code)
                    repeats = True
                for key in changed:
                    found[key] = _measured(name, refits, base[key], key, limit, way, seed + draw, measure)
    notes = _deaf(refits, base, [k for k in base if k not in found], seed) if hearing else ()
    size = len(world.times)
    return Audit(name, tuple(found.values()), refits.tried, notes, len(base), size, seed, world.fingerprint, code)


def _measured(name: str, refits: _Refits, value: NDArray[Any], key: str, limit: int, way: str, seed: int, measure: bool) -> Finding:
    times = refits.world.times
    own = int(np.searchsorted(times, limit, "right")) - 1
    low, high = own, len(times) - 1
    while measure and high - low > 1:
        middle = (low + high) // 2
        moves = not _same(value, refits.after(way, int(times[middle]), seed).get(key))
        low, high = (middle, high) if moves else (low, middle)
    bars = low + 1 - own if measure else None
    return Finding(name, "fit", key, bars, refits.world.unit, limit, measure and low + 1 == len(times) - 1, way)


def _deaf(refits: _Refits, base: Constants, names: list[str], seed: int) -> tuple[str, ...]:
    """A note about constants that do not change even when everything is changed."""
    if not names:
        return ()
    start = int(refits.world.times[min(2, len(refits.world.times) - 1)])
    other = refits.after("mirror", start, seed)
    more = refits.after("shuffle", start, seed)
    floats = [k for k in names if base[k].dtype.kind == "f"]
    deaf = [k for k in floats if _same(base[k], other.get(k)) and _same(base[k], more.get(k))]
    return (f"does not change even when all bars are scrambled, which proves nothing: {', '.join(deaf[:8])}",) if deaf else ()


def _limit(limits: Mapping[str, int], key: str) -> int:
    fitting = [prefix for prefix in limits if key.startswith(prefix)]
    if not fitting:
        raise UsageError(f"nothing says until when the constant {key!r} may read: give until_ms for it, or for all others under ''")
    return int(limits[max(fitting, key=len)])


def _plain(constants: Mapping[str, Any]) -> Constants:
    return {str(k): np.asarray(v) for k, v in constants.items()}


def _same(a: NDArray[Any], b: NDArray[Any] | None) -> bool:
    if b is None or a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind == "f":
        return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())
    return bool((a == b).all())
