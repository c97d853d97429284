"""Which rows are judged and what each model loses on them: one table of losses for all models, aligned in time across symbols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.models.base import ModelOutput
from candelabra.windows.targets import Targets

__all__ = ["SUBJECTS", "Judged", "Part", "Subject", "independent_bars", "judge", "reference_output", "time_axis"]

Floats = NDArray[np.float64]
Subject = str
SUBJECTS: Final = ("return", "quantiles", "volatility")


@dataclass(frozen=True, eq=False)
class Part:
    """One symbol of an evaluation.

    ``close_time_ms`` int64 ``(bars,)``: decision times of all bars of ``targets``; ``rows`` int64: the bars judged, rising;
    ``train_rows`` int64: the train range, from which the reference forecasts and naive errors come. ``outputs`` by model name at
    ``rows``: a `ModelOutput`, or several of different seeds, whose figures are averaged. ``variance_scales`` float64
    ``(rows, horizons)`` by model, where its variance scale changes from row to row (walk-forward).
    """

    symbol: str
    targets: Targets
    close_time_ms: NDArray[np.int64]
    rows: NDArray[np.int64]
    train_rows: NDArray[np.int64]
    outputs: Mapping[str, ModelOutput | Sequence[ModelOutput]]
    variance_scales: Mapping[str, Floats] = field(default_factory=dict)

    def seeds(self, name: str) -> list[ModelOutput]:
        """The outputs of ``name``, one per seed. Raises DataError when they do not fit the rows."""
        given = self.outputs[name]
        several = [given] if isinstance(given, ModelOutput) else list(given)
        for output in several:
            if output.mean.shape != (len(self.rows), len(self.targets.horizons)):
                raise DataError(
                    f"{self.symbol}: {name} forecasts {output.mean.shape[0]} rows x {output.mean.shape[1]} horizons, but "
                    f"{len(self.rows)} rows x {len(self.targets.horizons)} horizons are judged: predict at exactly those rows"
                )
        return several


@dataclass(frozen=True, eq=False)
class Judged:
    """Rows of one subject and horizon that all models forecast, symbols one below the other.

    ``keep[s]``: positions within the rows of part s. ``slot``: bar number on the common time axis per row, of ``slots``; ``symbol`` per
    row; ``actual`` per row; ``models``: who forecasts this subject.
    """

    horizon: int
    subject: Subject
    models: tuple[str, ...]
    keep: tuple[NDArray[np.int64], ...]
    slot: NDArray[np.int64]
    symbol: NDArray[np.int64]
    actual: Floats
    slots: int
    given: int
    no_outcome: int
    not_ready: dict[str, int] = field(default_factory=dict)

    def per_slot(self, values: Floats) -> Floats:
        """Sum ``values`` ``(rows,)`` within each bar of the common time axis."""
        return np.bincount(self.slot, weights=values, minlength=self.slots).astype(np.float64)


def reference_output(part: Part, levels: tuple[float, ...]) -> ModelOutput:
    """The forecasts nobody has to learn: mean 0, and the quantiles of the train range's returns; volatility the train mean of its log.

    Raises DataError when the train range holds no known return.
    """
    shape = (len(part.rows), len(part.targets.horizons))
    returns, volatility = part.targets.returns[part.train_rows], part.targets.log_volatility[part.train_rows]
    quantiles = np.empty((shape[1], len(levels)))
    for h, horizon in enumerate(part.targets.horizons):
        known = returns[np.isfinite(returns[:, h]), h]
        if known.size < 2:
            raise DataError(f"{part.symbol}: {known.size} returns over {horizon.name} are known in the train range: give a longer one")
        quantiles[h] = np.quantile(known, levels)
    flat = np.array([np.mean(v[np.isfinite(v)]) if np.isfinite(v).any() else np.nan for v in volatility.T])
    return ModelOutput(
        np.broadcast_to(quantiles.astype(np.float32), (*shape, len(levels))),
        np.zeros(shape, np.float32),
        np.broadcast_to(flat.astype(np.float32), shape),
        levels,
    )


def _ready(output: ModelOutput, subject: Subject, horizon: int) -> NDArray[np.bool_]:
    if subject == "return":
        return np.isfinite(output.mean[:, horizon])
    if subject == "volatility":
        return np.isfinite(output.log_volatility[:, horizon])
    return np.asarray(np.isfinite(output.quantiles[:, horizon]).all(axis=-1))


def time_axis(parts: Sequence[Part]) -> tuple[list[NDArray[np.int64]], int]:
    """Place of every judged row on the common axis of bars (all bars of any symbol between first and last judged), and its length."""
    first = min(int(p.close_time_ms[p.rows[0]]) for p in parts)
    last = max(int(p.close_time_ms[p.rows[-1]]) for p in parts)
    bars = np.unique(np.concatenate([p.close_time_ms[(p.close_time_ms >= first) & (p.close_time_ms <= last)] for p in parts]))
    return [np.searchsorted(bars, p.close_time_ms[p.rows]) for p in parts], len(bars)


def judge(parts: Sequence[Part], outputs: Sequence[Mapping[str, list[ModelOutput]]], horizon: int, subject: Subject) -> Judged | None:
    """The rows on which every model that forecasts ``subject`` at ``horizon`` has a forecast and the outcome is known; None if none.

    ``outputs[s][model]``: one output per seed. A model that forecasts a subject nowhere does not take part in it.
    """
    names = tuple(outputs[0])
    ready = {name: [np.all([_ready(o, subject, horizon) for o in by[name]], axis=0) for by in outputs] for name in names}
    models = tuple(name for name in names if any(r.any() for r in ready[name]))
    places, slots = time_axis(parts)
    keep, actual, unknown = [], [], 0
    for s, part in enumerate(parts):
        values = (part.targets.log_volatility if subject == "volatility" else part.targets.returns)[part.rows, horizon]
        known = np.isfinite(values)
        unknown += int((~known).sum())
        rows = np.flatnonzero(np.all([known, *(ready[name][s] for name in models)], axis=0))
        keep.append(rows)
        actual.append(values[rows])
    if not models or not sum(map(len, keep)):
        return None
    return Judged(
        horizon,
        subject,
        models,
        tuple(keep),
        np.concatenate([p[k] for p, k in zip(places, keep, strict=True)]),
        np.concatenate([np.full(len(k), s) for s, k in enumerate(keep)]),
        np.concatenate(actual),
        slots,
        sum(len(p.rows) for p in parts),
        unknown,
        {name: int(sum((~r).sum() for r in ready[name])) for name in models if not all(r.all() for r in ready[name])},
    )


def independent_bars(judged: Judged, steps: int) -> float:
    """Non-overlapping origins: occupied bars, or the bars spanned divided by the horizon if fewer; symbols at one bar count once."""
    occupied = np.unique(judged.slot)
    # a stretch of bars between the first and last origin holds span / steps looks that do not overlap, however densely it is sampled
    within_reach = np.minimum(np.diff(occupied), steps).sum() + 1 if occupied.size else 0
    return float(min(occupied.size, max(within_reach / max(steps, 1), 1.0)))
