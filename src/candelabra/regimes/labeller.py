"""Labellers: candles in, a `Segmentation` out, made with hindsight and saying when each segment could have been known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Literal, Protocol, get_args, get_origin, get_type_hints, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.errors import DataError, MissingExtraError, UsageError
from candelabra.regimes.segmentation import REGIME_LABELS, Segmentation
from candelabra.regimes.short_runs import NEVER, without_short_runs
from candelabra.registry import Entry, Registry, did_you_mean

__all__ = ["LABELLERS", "Labeller", "Reach", "at_least", "describe", "known_after", "new_labeller", "segmented", "short_of_bars"]

LABELLERS: Final = Registry("labeller")
"""Labellers by name; third parties add theirs through the entry-point group ``candelabra.labeller``.

``settings`` and ``target`` are one class: a frozen dataclass of settings that is the labeller.
"""


@dataclass(frozen=True)
class Reach:
    """How far past a bar's close its label reads, the labeller's hindsight horizon.

    ``bars``: at most so many of the bars that follow, which are there; None where the market decides (a turn is known when prices have
    turned). ``whole``: the label comes out of the whole series and is known at the end of the candles only; more candles may change it.
    """

    bars: int | None
    whole: bool = False

    def __str__(self) -> str:
        if self.whole:
            return "to the end of the candles"
        return "until the market decides" if self.bars is None else f"at most {self.bars} bars"


@runtime_checkable
class Labeller(Protocol):
    """A frozen dataclass of settings, counted in bars of whatever timeframe it is given, that labels candles."""

    @property
    def name(self) -> str:
        """The registered name; it stands as annotator in a learning set."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it can give."""
        ...

    @property
    def reach(self) -> Reach:
        """How far past a bar its label reads."""
        ...

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``; ``known_at`` of each: no candle that closes later can change the label of any of its bars."""
        ...


def new_labeller(name: str, values: Mapping[str, Any] | None = None) -> Labeller:
    """The labeller called ``name`` with ``values`` for some of its settings (text is read as the setting's own type).

    UsageError for an unknown name or setting, or a value that cannot be; MissingExtraError when a library it needs is not installed.

    >>> new_labeller("trend_scan", {"longest": "40"})
    TrendScan(shortest=5, longest=40, least_t=12.0, least_run=6)
    """
    settings = LABELLERS.settings(name)
    hints = get_type_hints(settings)
    known = [f.name for f in fields(settings) if f.init]
    given: dict[str, Any] = {}
    for key, value in (values or {}).items():
        if key not in known:
            raise UsageError(f"the labeller {name} has no setting {key!r}: {did_you_mean(key, known)}")
        given[key] = _typed(name, key, value, hints[key])
    made: Labeller = LABELLERS.load(name)(**given)
    return made


def describe() -> list[dict[str, str]]:
    """Every labeller for listings: name, what it does, its settings with their defaults, how far it reads."""
    found = []
    for entry in LABELLERS:
        settings = LABELLERS.settings(entry.name)
        try:
            reads = str(settings().reach)
        except MissingExtraError as missing:
            reads = f"needs the extra {missing.extra}"
        defaults = ", ".join(f"{f.name}={f.default}" for f in fields(settings) if f.init and f.default is not MISSING)
        found.append({"name": entry.name, "about": entry.summary, "settings": defaults, "reads": reads})
    return found


def segmented(
    name: str, candles: Candles, labels: Sequence[str], code: NDArray[np.int16], known_at: NDArray[np.int64], least_run: int
) -> Segmentation:
    """The segments of labels made bar by bar (codes index ``REGIME_LABELS``, -1: none), runs below ``least_run`` given to those before.

    ``known_at`` per bar (ms, `NEVER` where the label is not known yet). Codes are renumbered to ``labels``.
    """
    merged, known = without_short_runs(code, known_at, least_run)
    place = np.array([labels.index(one) if one in labels else -1 for one in REGIME_LABELS] + [-1], np.int16)
    made = Segmentation.of_bars(candles, labels, place[merged], known)
    columns = (made.start, made.end, made.code, made.confidence, made.known_at)
    return Segmentation.of(made.symbol, made.timeframe, made.labels, *columns, annotator=name)


def short_of_bars(name: str, candles: Candles, needed: int) -> DataError:
    """The error for candles that are too few for one label."""
    there = f"{len(candles):,} closed bars"
    if len(candles):
        there += f" up to {format_time(int(candles.close_time[-1]))}"
    return DataError(
        f"{candles.symbol} {candles.timeframe} has {there}; the labeller {name} needs {needed:,} for its first label: give more candles, "
        "a shorter timeframe or smaller settings"
    )


def at_least(name: str, **limits: tuple[float, float]) -> None:
    """UsageError unless each setting (value, least) is at least what it must be."""
    for key, (value, least) in limits.items():
        if not value >= least:
            raise UsageError(f"the labeller {name} cannot have {key} = {value:g}: give {least:g} or more")


def known_after(candles: Candles, bars: int) -> NDArray[np.int64]:
    """Close time of the bar ``bars`` rows after each (ms), `NEVER` where the candles end before."""
    known = np.full(len(candles), NEVER)
    if len(candles) > bars:
        known[: len(candles) - bars] = candles.close_time[bars:]
    return known


def _typed(name: str, key: str, value: Any, hint: Any) -> Any:
    """A value as its setting's type; text such as "24", "0.5", "close"."""
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    if choices:
        if value not in choices:
            raise UsageError(f"the labeller {name} cannot have {key} = {value!r}: {did_you_mean(str(value), [str(c) for c in choices])}")
        return value
    try:
        if hint is int and not isinstance(value, bool) and float(value) == int(float(value)):
            return int(float(value))
        if hint is float and np.isfinite(float(value)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    kind = "a whole number" if hint is int else "a number"
    raise UsageError(f"the labeller {name} cannot have {key} = {value!r}: give {kind}")


_BUILT_IN: Final = (
    ("trend_scan", "trend_scan:TrendScan", "the most significant trend that begins at each bar (Lopez de Prado 2020)"),
    ("triple_barrier", "barriers:TripleBarrier", "which comes first: a rise, a fall, or the end of patience (Lopez de Prado 2018)"),
    ("zigzag", "turning_points:Zigzag", "legs between turns of some volatilities or true ranges (directional change)"),
    ("lunde_timmermann", "turning_points:LundeTimmermann", "bull and bear markets by rises and falls of set shares (2004)"),
    ("bry_boschan", "bry_boschan:BryBoschan", "legs between extremes of a window, with least phases and cycles (1971)"),
    ("centred_window", "centred_window:CentredWindow", "trend and volatility of a window centred on each bar"),
    ("pelt", "change_points:Pelt", "segments between change points of the whole series (extra: labellers)"),
    ("kernel_change_points", "change_points:KernelChangePoints", "the same by a Gaussian kernel (extra: labellers)"),
    ("hidden_markov", "hidden_markov:HiddenMarkov", "most likely states of a Gaussian hidden Markov model (extra: labellers)"),
)
for _name, _path, _summary in _BUILT_IN:
    LABELLERS.add(Entry(_name, f"candelabra.regimes.{_path}", f"candelabra.regimes.{_path}", _summary))
