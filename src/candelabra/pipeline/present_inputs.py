"""What went into a run, for the report: quality of the candles, findings, features and what they say on the train range."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.features.catalog import parse
from candelabra.features.selection import examine
from candelabra.models.base import FittedModel
from candelabra.models.inputs import InputSpec
from candelabra.pipeline.material import Material
from candelabra.report import inputs as page

__all__ = ["features", "findings", "quality", "scores"]


def quality(material: Material) -> Iterator[page.SymbolQuality]:
    """How complete each series is."""
    reports = iter(material.quality)
    for own in material.candles:
        for candles in own:
            report = next(reports)
            steps = np.diff(candles.bar)
            yield page.SymbolQuality(
                symbol=candles.symbol,
                timeframe=candles.timeframe.name,
                bars=len(candles),
                gaps=int((steps > 1).sum()),
                missing_bars=int((steps - 1).sum()),
                longest_gap_bars=int((steps - 1).max(initial=0)),
                zero_volume_bars=int((candles.volume == 0).sum()),
                months=tuple(month.month for month in report.coverage),
                coverage=np.array([month.present / max(1, month.expected) for month in report.coverage], float),
            )


def findings(material: Material) -> Iterator[page.Finding]:
    """What the quality check found."""
    for report in material.quality:
        for found in report.findings:
            severity: Literal["error", "note"] = "error" if found.fatal else "note"
            yield page.Finding(report.symbol, report.timeframe, severity, found.kind, found.count, _as_ms(found.first_time), found.worst)


def _as_ms(time: str) -> int | None:
    """The time that `candles.quality` wrote for people (UTC), None for none.

    >>> _as_ms("2023-11-14 22:13:20"), _as_ms("")
    (1700000000000, None)
    """
    return int(np.datetime64(time, "ms").astype(np.int64)) if time else None


def _spec_of(models: Mapping[str, FittedModel]) -> InputSpec | None:
    for model in models.values():
        spec = getattr(model, "spec", None)
        if isinstance(spec, InputSpec):
            return spec
    return None


def features(material: Material, models: Mapping[str, FittedModel]) -> Iterator[page.FeatureRow]:
    """Every channel a network reads, with its formula and how it was scaled."""
    spec = _spec_of(models)
    for tf, table in material.series[0].features.items():
        scaler = spec.scalers.get(tf) if spec is not None else None
        for k, name in enumerate(table.names):
            centre, scale = (float(scaler.center[k]), float(scaler.scale[k])) if scaler is not None else (None, None)
            yield page.FeatureRow(name, tf, parse(name).kind.formula, table.warm_up[k], centre, scale)


def scores(material: Material) -> Iterator[page.FeatureScore]:
    """What each base feature says about volatility to come, on the train range of the first symbol."""
    series, targets = material.series[0], material.targets[0]
    table = series.features[series.base.name]
    h = len(targets.horizons) - 1
    # relative to the level, or everything that knows the level would look equally wise
    target = targets.log_volatility[:, h] - series.level
    found = examine(table.values, table.names, material.split.train[0], target)
    information = found.information if found.information is not None else np.full(len(table.names), np.nan)
    rows = material.split.train[0]
    for k, name in enumerate(table.names):
        x, y = table.values[rows, k].astype(float), target[rows]
        known = np.isfinite(x) & np.isfinite(y)
        correlation = float(np.corrcoef(_ranks(x[known]), _ranks(y[known]))[0, 1]) if np.ptp(x[known]) > 0 else 0.0
        yield page.FeatureScore(
            name, series.base.name, f"volatility of the next {targets.horizons[h]} above the level", correlation, float(information[k])
        )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.argsort(np.argsort(values)).astype(float)
