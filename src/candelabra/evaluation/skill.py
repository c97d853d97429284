"""`evaluate`: models against each other on the same rows, with intervals, p-values and the number of trials.

Every figure is made of sums per bar, so one circular block bootstrap per subject resamples all models and symbols jointly. R2 is around
each symbol's own test mean and averaged over symbols (pooling would credit a model for knowing which symbol is wilder); losses are means
over all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError, UsageError
from candelabra.evaluation.judged import SUBJECTS, Judged, Part, independent_bars, judge, reference_output, time_axis
from candelabra.evaluation.results import Comparison, Evaluation, Figure, Measure, ModelFigures, RowCount
from candelabra.metrics import forecast as point
from candelabra.metrics import quantiles as spread
from candelabra.metrics.significance import block_bootstrap_sums, diebold_mariano_sums, summarise
from candelabra.models.base import ModelOutput

__all__ = ["REFERENCE", "evaluate"]

Floats = NDArray[np.float64]
REFERENCE: Final = "reference"
_COVERAGES: Final = (0.5, 0.8, 0.9, 0.98)
_Z: Final = 1.959963984540054


@dataclass(frozen=True, eq=False)
class _Setting:
    baselines: tuple[str, ...]
    block: int
    resamples: int
    seed: int
    trials: int


@dataclass(frozen=True, eq=False)
class _Sums:
    """Named sums per bar, their totals and their resampled totals."""

    per_slot: dict[str, Floats]
    total: dict[str, float]
    draws: dict[str, Floats]

    @staticmethod
    def resample(per_slot: dict[str, Floats], setting: _Setting) -> _Sums:
        draws = block_bootstrap_sums(np.stack(list(per_slot.values()), axis=1), setting.block, setting.resamples, setting.seed)
        names = list(per_slot)
        return _Sums(per_slot, {n: float(per_slot[n].sum()) for n in names}, {n: draws[:, k] for k, n in enumerate(names)})


def evaluate(
    parts: Sequence[Part],
    *,
    baselines: Sequence[str] = (),
    block_bars: int,
    trials: int = 1,
    variance_scales: Mapping[str, ArrayLike] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Judge the outputs of several models for one or several symbols.

    ``parts``: one per symbol, with the same models and horizons. ``baselines``: names of models every other is compared with, beside
    `REFERENCE` (mean 0, train quantiles, train mean of log volatility), which is always added and judged too. ``block_bars``: bars
    in a week, the bootstrap's block; shortened to a quarter of the range (with a note) when that is longer. ``trials``: how many tries
    the judged range has seen, this one counted. ``variance_scales`` by model: ``(horizons,)`` or ``(seeds, horizons)`` constants
    from ``Calibration.variance_scale`` (a part's own come first);
    1 where a model has none (with a note). Raises DataError when nothing can be judged, UsageError
    for names that are not there.
    """
    _check(parts, baselines, trials)
    names = tuple(parts[0].outputs)
    levels = parts[0].seeds(names[0])[0].levels if names else ()
    if not levels:
        raise UsageError("there is no model to evaluate: give at least one")
    outputs = [{REFERENCE: [reference_output(p, levels)], **{n: p.seeds(n) for n in names}} for p in parts]
    _, slots = time_axis(parts)
    block, notes = min(block_bars, max(slots // 4, 1)), []
    if block < block_bars:
        notes.append(
            f"the range of {slots} bars is short: bootstrap blocks are {block} bars instead of {block_bars}, intervals are too narrow"
        )
    setting = _Setting((REFERENCE, *baselines), block, resamples, seed, trials)
    scales = _scales(parts, names, variance_scales or {}, notes)

    models: list[ModelFigures] = []
    comparisons: list[Comparison] = []
    rows: list[RowCount] = []
    up: dict[str, float] = {}
    for h, horizon in enumerate(parts[0].targets.horizons):
        figures: dict[str, dict[str, Figure]] = {name: {} for name in (REFERENCE, *names)}
        pits: dict[str, tuple[float, ...]] = {}
        for subject in SUBJECTS:
            judged = judge(parts, outputs, h, subject)
            if judged is None:
                continue
            independent = independent_bars(judged, parts[0].targets.steps[h])
            rows.append(RowCount(horizon.name, subject, judged.given, judged.no_outcome, judged.not_ready, judged.actual.size, independent))
            if subject == "return":
                up[horizon.name] = point.mean_loss(point.direction_hits(judged.actual, np.ones_like(judged.actual)))
                sums = _judge_returns(judged, parts, outputs, figures, independent, setting)
                measures: tuple[Measure, ...] = ("mse", "mae")
            elif subject == "quantiles":
                sums = _judge_quantiles(judged, outputs, levels, figures, pits, independent, setting)
                measures = ("crps",)
            else:
                sums = _judge_volatility(judged, outputs, scales, figures, setting)
                measures = ("r2", "qlike")
            for measure in measures:
                comparisons += _compare(judged, sums, measure, horizon.name, parts[0].targets.steps[h], len(parts), setting)
        models += [ModelFigures(name, horizon.name, figures[name], pits.get(name, ())) for name in figures if figures[name]]
    if not rows:
        raise DataError("no row can be judged: no model has a forecast at a row whose future is known; give a later or longer range")
    return Evaluation(
        symbols=tuple(p.symbol for p in parts),
        horizons=tuple(t.name for t in parts[0].targets.horizons),
        start_ms=min(int(p.close_time_ms[p.rows[0]]) for p in parts),
        end_ms=max(int(p.close_time_ms[p.rows[-1]]) for p in parts),
        models=tuple(models),
        comparisons=tuple(comparisons),
        rows=tuple(rows),
        up_share=up,
        block_bars=block,
        resamples=resamples,
        seed=seed,
        trials=trials,
        notes=tuple(notes),
    )


def _check(parts: Sequence[Part], baselines: Sequence[str], trials: int) -> None:
    if not parts or any(not len(p.rows) for p in parts):
        raise DataError("there is nothing to evaluate: every symbol needs at least one row in the range; give a later or longer range")
    names = tuple(parts[0].outputs)
    for part in parts:
        if tuple(part.outputs) != names or part.targets.horizons != parts[0].targets.horizons:
            raise UsageError(
                f"{part.symbol} was forecast by other models or horizons than {parts[0].symbol}: evaluate the same for all symbols"
            )
        if np.any(np.diff(part.rows) <= 0):
            raise UsageError(f"{part.symbol}: the rows to judge must rise, each once")
    if REFERENCE in names:
        raise UsageError(f"{REFERENCE!r} is the built-in reference of every evaluation: give the model another name")
    if unknown := [b for b in baselines if b not in names]:
        raise UsageError(f"baselines {', '.join(unknown)} are not among the models judged ({', '.join(names)})")
    if trials < 1:
        raise UsageError(f"{trials} trials cannot be: this one counts, so at least 1")


def _scales(
    parts: Sequence[Part], names: tuple[str, ...], given: Mapping[str, ArrayLike], notes: list[str]
) -> dict[str, list[list[Floats]]]:
    """Variance scales by model, seed and part, ``(rows, horizons)`` each; the reference's come from each train range."""
    horizons = len(parts[0].targets.horizons)
    found: dict[str, list[list[Floats]]] = {}
    for name in names:
        seeds = len(parts[0].seeds(name))
        scale = np.broadcast_to(np.asarray(given.get(name, 1.0), np.float64), (seeds, horizons))
        found[name] = [[np.broadcast_to(p.variance_scales.get(name, row), (len(p.rows), horizons)) for p in parts] for row in scale]
    missing = [n for n in names if n not in given and not all(n in p.variance_scales for p in parts)]
    if missing:
        notes.append(f"no variance scale was fitted for {', '.join(missing)}: their QLIKE uses 1")
    own = []
    for part in parts:
        train = part.targets.log_volatility[part.train_rows]
        known = [column[np.isfinite(column)] for column in train.T]
        scale = np.array([point.variance_scale(v, np.full(v.size, v.mean())) if v.size else 1.0 for v in known])
        own.append(np.broadcast_to(scale, (len(part.rows), horizons)))
    found[REFERENCE] = [own]
    return found


def _of(judged: Judged, outputs: Sequence[Mapping[str, list[ModelOutput]]], model: str, what: str) -> list[Floats]:
    """Forecasts of ``what`` at the judged rows, one array per seed."""
    seeds = len(outputs[0][model])
    return [
        np.concatenate(
            [
                np.asarray(getattr(by[model][k], what)[keep, judged.horizon], np.float64)
                for by, keep in zip(outputs, judged.keep, strict=True)
            ]
        )
        for k in range(seeds)
    ]


def _mean(arrays: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(arrays, axis=0))


def _loss_figure(sums: _Sums, column: str) -> Figure:
    rows = sums.draws["n"]
    return _resampled_figure(sums.total[column] / sums.total["n"], sums.draws[column] / np.where(rows > 0.0, rows, np.nan))


def _resampled_figure(value: float, draws: Floats) -> Figure:
    """A figure with its interval and spread from resamples; those that met no row are left out."""
    found, finite = summarise(value, draws), draws[np.isfinite(draws)]
    return Figure(value, float(finite.std()) if finite.size else float("nan"), found.low, found.high)


def _share_figure(hits: Sequence[Floats], independent: float) -> Figure:
    """A share averaged over seeds; its error is that of one seed, since seeds share the same outcomes."""
    found = [point.share(h, origins=independent * float(np.mean(~np.isnan(h)))) for h in hits]
    value, error = float(np.mean([f.value for f in found])), float(np.mean([f.standard_error for f in found]))
    return Figure(value, error, value - _Z * error, value + _Z * error)


def _judge_returns(
    judged: Judged,
    parts: Sequence[Part],
    outputs: Sequence[Mapping[str, list[ModelOutput]]],
    figures: dict[str, dict[str, Figure]],
    independent: float,
    setting: _Setting,
) -> _Sums:
    y = judged.actual
    errors = np.array([point.naive_error(p.targets.returns[p.train_rows, judged.horizon]) for p in parts])
    naive = np.where(errors > 0.0, errors, np.nan)[judged.symbol]
    forecasts = {m: _of(judged, outputs, m, "mean") for m in judged.models}
    columns = {"n": judged.per_slot(np.ones_like(y))}
    for m, seeds in forecasts.items():
        columns[f"mse {m}"] = judged.per_slot(_mean([point.squared_error(y, f) for f in seeds]))
        columns[f"mae {m}"] = judged.per_slot(_mean([point.absolute_error(y, f) for f in seeds]))
    sums = _Sums.resample(columns, setting)
    error = point.correlation_standard_error(independent)
    for m, seeds in forecasts.items():
        out = figures[m]
        out["mae"], out["mse"] = _loss_figure(sums, f"mae {m}"), _loss_figure(sums, f"mse {m}")
        mse = out["mse"]
        out["rmse"] = Figure(float(np.sqrt(mse.value)), low=float(np.sqrt(mse.low)), high=float(np.sqrt(mse.high)))
        out["mape"] = Figure(point.mean_loss(_mean([point.price_percentage_error(y, f) for f in seeds])))
        out["mase"] = Figure(point.mean_loss(_mean([point.absolute_error(y, f) / naive for f in seeds])))
        out["direction"] = _share_figure([point.direction_hits(y, f) for f in seeds], independent)
        for name, of in (("ic", point.correlation), ("rank_ic", point.rank_correlation)):
            each = [of(y[judged.symbol == s], f[judged.symbol == s]) for s in range(len(parts)) for f in seeds]
            value = point.mean_loss(each)
            out[name] = Figure(value, error, value - _Z * error, value + _Z * error)
    return sums


def _judge_quantiles(
    judged: Judged,
    outputs: Sequence[Mapping[str, list[ModelOutput]]],
    levels: tuple[float, ...],
    figures: dict[str, dict[str, Figure]],
    pits: dict[str, tuple[float, ...]],
    independent: float,
    setting: _Setting,
) -> _Sums:
    y, columns = judged.actual, {"n": judged.per_slot(np.ones_like(judged.actual))}
    there = {round(levels[high] - levels[low], 9) for low, high in spread.central_pairs(levels)}
    for m in judged.models:
        seeds, out = _of(judged, outputs, m, "quantiles"), figures[m]
        columns[f"crps {m}"] = judged.per_slot(_mean([spread.crps(q, y, levels) for q in seeds]))
        out["pinball"] = Figure(float(np.mean([spread.pinball(q, y, levels) for q in seeds])))
        for coverage in _COVERAGES:
            if coverage in there:
                hits = [spread.covered(q, y, levels, coverage) for q in seeds]
                out[f"coverage_{coverage * 100:.0f}"] = _share_figure(hits, independent)
        if 0.9 in there:
            out["width_90"] = Figure(float(np.mean([spread.width(q, levels, 0.9) for q in seeds])))
        pit = _mean([spread.pit_histogram(spread.pit_values(q, y, levels)) for q in seeds])
        pits[m] = tuple(float(x) for x in pit)
    sums = _Sums.resample(columns, setting)
    for m in judged.models:
        figures[m]["crps"] = _loss_figure(sums, f"crps {m}")
    return sums


def _judge_volatility(
    judged: Judged,
    outputs: Sequence[Mapping[str, list[ModelOutput]]],
    scales: dict[str, list[list[Floats]]],
    figures: dict[str, dict[str, Figure]],
    setting: _Setting,
) -> _Sums:
    y, symbols = judged.actual, range(len(outputs))
    own = [judged.symbol == s for s in symbols]
    centre = np.array([y[mask].mean() if mask.any() else 0.0 for mask in own])[judged.symbol]
    columns = {"n": judged.per_slot(np.ones_like(y))}
    for s in symbols:
        columns[f"n {s}"] = judged.per_slot(own[s].astype(np.float64))
        columns[f"y {s}"] = judged.per_slot(np.where(own[s], y - centre, 0.0))
        columns[f"yy {s}"] = judged.per_slot(np.where(own[s], (y - centre) ** 2, 0.0))
    for m in judged.models:
        seeds = _of(judged, outputs, m, "log_volatility")
        squared = _mean([point.squared_error(y, f) for f in seeds])
        scale = [np.concatenate([p[keep, judged.horizon] for p, keep in zip(by, judged.keep, strict=True)]) for by in scales[m]]
        columns[f"qlike {m}"] = judged.per_slot(_mean([point.qlike(y, f, c) for f, c in zip(seeds, scale, strict=True)]))
        for s in symbols:
            columns[f"se {s} {m}"] = judged.per_slot(np.where(own[s], squared, 0.0))
    sums = _Sums.resample(columns, setting)
    for m in judged.models:
        figures[m]["r2"] = _resampled_figure(float(_r2(sums.total, m, len(outputs))), _r2(sums.draws, m, len(outputs)))
        figures[m]["qlike"] = _loss_figure(sums, f"qlike {m}")
    return sums


def _r2(sums: Mapping[str, Floats] | Mapping[str, float], model: str, symbols: int) -> Floats:
    """R2 around each symbol's mean, averaged over the symbols that have spread."""
    each = []
    for s in range(symbols):
        n, first, second = (np.asarray(sums[f"{column} {s}"], np.float64) for column in ("n", "y", "yy"))
        variation = second - first**2 / np.maximum(n, 1.0)
        judged = (n > 1.0) & (variation > 0.0)
        each.append(np.where(judged, 1.0 - np.asarray(sums[f"se {s} {model}"]) / np.where(judged, variation, 1.0), np.nan))
    table = np.stack(each)
    known = np.isfinite(table)
    return np.asarray(np.where(known, table, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan))


def _per_bar_loss(sums: _Sums, measure: Measure, model: str, symbols: int) -> Floats:
    """Loss sums per bar for Diebold-Mariano; for R2 squared errors in units of each symbol's variance, so that symbols weigh alike."""
    if measure != "r2":
        return sums.per_slot[f"{measure} {model}"]
    total = np.zeros_like(sums.per_slot["n"])
    for s in range(symbols):
        variation = sums.total[f"yy {s}"]
        if variation > 0.0:
            total += sums.per_slot[f"se {s} {model}"] * (sums.total[f"n {s}"] / variation)
    return total


def _compare(judged: Judged, sums: _Sums, measure: Measure, horizon: str, steps: int, symbols: int, setting: _Setting) -> list[Comparison]:
    out = []
    losses = {m: _per_bar_loss(sums, measure, m, symbols) for m in judged.models}
    for baseline in (b for b in setting.baselines if b in judged.models):
        for model in (m for m in judged.models if m not in (baseline, REFERENCE)):
            if measure == "r2":
                value = float(_r2(sums.total, model, symbols) - _r2(sums.total, baseline, symbols))
                draws = _r2(sums.draws, model, symbols) - _r2(sums.draws, baseline, symbols)
            else:
                ours, theirs = f"{measure} {model}", f"{measure} {baseline}"
                value = 1.0 - sums.total[ours] / sums.total[theirs] if sums.total[theirs] > 0.0 else float("nan")
                draws = 1.0 - sums.draws[ours] / np.where(sums.draws[theirs] > 0.0, sums.draws[theirs], np.nan)
            found = summarise(value, draws)
            if not np.isfinite([found.value, found.low, found.high]).all():
                continue
            test = diebold_mariano_sums(losses[model] - losses[baseline], sums.per_slot["n"], steps)
            out.append(
                Comparison(
                    model,
                    baseline,
                    horizon,
                    measure,
                    found.value,
                    found.low,
                    found.high,
                    found.p_value,
                    test.p_value,
                    found.words,
                    setting.trials,
                )
            )
    return out
