"""Quality on real candles: the rows of the table of figures about forecasts, each reproduced by one command.

``python -m bench.quality hourly`` prints a row in full, ``python -m bench run main/quality`` all of them as items. Real candles come from
``CANDELABRA_DATA`` (else ``../shared/data`` beside the repository) and are never part of it. Words as everywhere: *clearly* means that the
95 % paired block-bootstrap interval (blocks of a week) excludes 0, *level* that it contains 0 and the point difference is above -0.01 (R2)
or -1 % (QLIKE). Networks and trees are means over seeds; trees are tuned with optuna on the same validation and forward folds.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.item import Absent, Goal, Item, Reading, Tool
from candelabra.candles.frame import Candles
from candelabra.evaluation.calibration import fit_calibration, outcomes
from candelabra.evaluation.judged import Part
from candelabra.evaluation.results import Evaluation
from candelabra.evaluation.skill import evaluate
from candelabra.metrics.calibration import apply_calibration
from candelabra.models.base import FitData, FittedModel, ModelOutput
from candelabra.models.ensemble import combine
from candelabra.models.registry import new_model
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.series import Series
from candelabra.windows.splits import Split, chronological
from candelabra.windows.targets import Targets, make_targets

__all__ = ["ITEMS", "finer", "hourly", "pooled"]

POOL = ("BTC", "ETH", "LTC", "XRP", "ADA", "LINK")
WEEK_MS = 7 * 86_400_000
_FLOOR = {"r2": -0.01, "qlike": -0.01, "crps": -0.01}


@dataclass(frozen=True)
class Effort:
    """How much is spent: ``seeds``, ``trials`` of tuning, most ``bars`` read (0: all), most training ``steps`` (0: the default)."""

    seeds: int = 3
    trials: int = 30
    bars: int = 0
    steps: int = 0


SMALL = Effort(seeds=1, trials=2, bars=9000, steps=20)


@dataclass(frozen=True, eq=False)
class Ground:
    """Series, targets and the split of one row."""

    recipe: Recipe
    series: tuple[Series, ...]
    targets: tuple[Targets, ...]
    split: Split

    def data(self, seed: int = 0, only: int | None = None) -> FitData:
        """What models may learn from; ``only`` one of the symbols."""
        chosen = range(len(self.series)) if only is None else [only]

        def of(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[i] for i in chosen)

        return FitData(of(self.series), of(self.targets), of(self.split.train), of(self.split.validation), seed)


@dataclass(eq=False)
class Contest:
    """Models by name on one ground, each as its seeds; ``own[name][s]`` where a model is fitted for every symbol apart."""

    ground: Ground
    models: dict[str, list[FittedModel]] = field(default_factory=dict)
    own: dict[str, list[list[FittedModel]]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)

    def fit(self, name: str, make: Callable[[int], FittedModel], seeds: int) -> None:
        """Fit ``seeds`` models and keep how long each took."""
        self.models[name] = []
        for seed in range(seeds):
            started = time.process_time()
            self.models[name].append(make(seed))
            self.cpu_seconds.setdefault(name, []).append(time.process_time() - started)
            _say(f"  {name}, seed {seed}: {self.cpu_seconds[name][-1]:.0f} CPU-seconds")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _folder() -> Path:
    given = os.environ.get("CANDELABRA_DATA")
    folder = (Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data") / "ohlcv"
    if not folder.is_dir():
        raise Absent(f"real candles are not here: no folder {folder} (set CANDELABRA_DATA to a folder that has ohlcv/)")
    return folder


def _candles(symbol: str, scale: str, pattern: str, bars: int = 0) -> Candles:
    import pyarrow.parquet as pq

    files = sorted(_folder().glob(pattern))
    if not files:
        raise Absent(f"{_folder() / pattern} is not here")
    names = ("open", "high", "low", "close", "volume")
    tables = [pq.read_table(file, columns=["timestamp", *names]) for file in files]
    stamps = np.concatenate([t["timestamp"].to_numpy().astype("datetime64[ms]").astype(np.int64) for t in tables])
    columns = [np.concatenate([t[name].to_numpy() for t in tables]) for name in names]
    if bars:
        stamps, columns = stamps[-bars:], [c[-bars:] for c in columns]
    return Candles.of(f"{symbol}/USDT", scale, stamps, *columns)


def _hours(symbol: str, bars: int = 0) -> Candles:
    return _candles(symbol, "1h", f"binance_{symbol}USDT_1h.parquet", bars)


def _ground(recipe: Recipe, candles: Sequence[Candles]) -> Ground:
    series = tuple(build_series(c, recipe) for c in candles)
    split = chronological([s.close_time for s in series], purge_ms=recipe.purge_ms)
    return Ground(recipe, series, tuple(make_targets(s, recipe) for s in series), split)


def _arms(data: FitData, effort: Effort, start: Any = None, **changes: Any) -> Any:
    """The flagship with its default settings, one network; ``start``: weights to begin from."""
    from candelabra.features.scaling import ScalerSettings
    from candelabra.models.settings import ArmsSettings
    from candelabra.training.fit import fit_network
    from candelabra.training.settings import TrainingSettings

    training = replace(TrainingSettings(threads=1), **changes)
    if effort.steps:
        training = replace(training, steps=effort.steps, evaluate_every=min(training.evaluate_every, effort.steps))
    return fit_network(data, ArmsSettings(), training, ScalerSettings(fill=0.0), start=start)[0]


def _learned_elsewhere(recipe: Recipe, until_ms: int, effort: Effort, seed: int) -> Any:
    """A network that learned from the hours of the other symbols, as far as they had closed by ``until_ms``; the last 8 % stop it.

    Until then the markets of this pool moved together, so its hours after that time would tell of the validation and test ranges.
    """
    series = [build_series(_hours(s, effort.bars).between(end_ms=until_ms), recipe) for s in POOL if s != "BTC"]
    targets = [make_targets(s, recipe) for s in series]
    first = min(int(s.close_time[0]) for s in series)
    stop = until_ms - round(0.08 * (until_ms - first))
    train = [np.flatnonzero(s.close_time + recipe.purge_ms <= stop) for s in series]
    later = [np.flatnonzero((s.close_time >= stop) & (s.close_time + recipe.purge_ms <= until_ms)) for s in series]
    return _arms(FitData(tuple(series), tuple(targets), tuple(train), tuple(later), seed), effort, rehearsal=0.0)


@dataclass(frozen=True, eq=False)
class _OnBase:
    """A model that sees the features of the base bars and no other timeframe's; target and anchor are the same."""

    model: FittedModel
    name: str = "base alone"

    def predict(self, series: Series, rows: Any) -> ModelOutput:
        """Forecasts from the base bars."""
        return self.model.predict(_base_alone(series), rows)

    def save(self, folder: Path) -> None:
        """Not kept."""
        raise NotImplementedError("a rival of one measurement is not saved")


def _arms_on_base(data: FitData, effort: Effort, start: Any = None) -> FittedModel:
    return _OnBase(_arms(replace(data, series=tuple(_base_alone(s) for s in data.series)), effort, start))


def _base_alone(series: Series) -> Series:
    """The series without features of other timeframes (their candles stay: the target and the anchor may read them)."""
    table = series.features[series.base.name]
    own = [k for k, name in enumerate(table.names) if "fine" not in name]
    names, warm_up = tuple(table.names[k] for k in own), tuple(table.warm_up[k] for k in own)
    return replace(series, features={series.base.name: replace(table, names=names, warm_up=warm_up, values=table.values[:, own])})


def _stack(data: FitData, settings: Any, seed: int) -> FittedModel:
    fitted: FittedModel = new_model("harx_lightgbm", replace(settings, seed=seed)).fit(data)
    return fitted


def _tuned(data: FitData, effort: Effort) -> Any:
    from candelabra.models.boosting import tune_lightgbm

    started = time.process_time()
    settings = tune_lightgbm(data, effort.trials)
    _say(f"  LightGBM tuned in {effort.trials} trials, {time.process_time() - started:.0f} CPU-seconds: {settings}")
    return settings


def _judge(contest: Contest, baselines: Sequence[str], trials: int = 1) -> Evaluation:
    """Calibrate every seed of every model before the test range, then open it for all at once."""
    ground = contest.ground
    names = tuple(h.name for h in ground.recipe.horizons)
    outputs: dict[str, list[list[ModelOutput]]] = {}
    scales: dict[str, np.ndarray] = {}
    everyone = {name: [[m] * len(ground.series) for m in models] for name, models in contest.models.items()} | contest.own
    for name, seeds in everyone.items():
        per_seed, constants = [], []
        for of in seeds:
            parts: list[list[ModelOutput]] = [[], [], []]
            for s, series in enumerate(ground.series):
                rows = [ground.split.part(p)[s] for p in ("validation", "calibration", "test")]
                output = of[s].predict(series, np.concatenate(rows))
                bounds = np.cumsum([0, *map(len, rows)])
                for k in range(3):
                    parts[k].append(output.rows(slice(int(bounds[k]), int(bounds[k + 1]))))
            fitted = fit_calibration(
                names,
                ground.targets[0].steps,
                outcomes(ground.targets, ground.split.validation, parts[0]),
                outcomes(ground.targets, ground.split.calibration, parts[1]),
            )
            per_seed.append([apply_calibration(o, fitted) for o in parts[2]])
            constants.append(fitted.variance_scale)
        outputs[name], scales[name] = per_seed, np.array(constants)
    parts_ = [
        Part(
            series.symbol,
            ground.targets[s],
            series.close_time,
            ground.split.test[s],
            ground.split.train[s],
            {name: [seed[s] for seed in seeds] for name, seeds in outputs.items()},
        )
        for s, series in enumerate(ground.series)
    ]
    block = WEEK_MS // ground.recipe.base.milliseconds
    return evaluate(parts_, baselines=tuple(baselines), block_bars=block, trials=trials, variance_scales=scales)


Word = Literal["clearly above", "level", "below"]


def _word(evaluation: Evaluation, model: str, rival: str, horizon: str, measure: Any) -> tuple[Word, str]:
    """How a model stands to a rival in the words of the table, and the figures behind the word."""
    found = evaluation.compare(model, rival, horizon, measure)
    if found is None:
        return "below", f"{model} and {rival} were not compared"
    word: Word = "clearly above" if found.low > 0 else "level" if found.high >= 0 and found.value > _FLOOR[measure] else "below"
    ours, theirs = (evaluation.of(m, horizon)[measure].value for m in (model, rival))
    return word, f"{measure} {ours:.4f} against {theirs:.4f}: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}], {word}"


def _reached(evaluation: Evaluation, wanted: Sequence[tuple[str, str, str]], horizon: str = "24h") -> dict[str, Reading]:
    """1 where both R2 and QLIKE reach the wanted word, else 0; ``wanted``: (model, rival, "level" or "clearly above")."""
    readings = {}
    for model, rival, least in wanted:
        words = [_word(evaluation, model, rival, horizon, measure) for measure in ("r2", "qlike")]
        good = {"level": ("level", "clearly above"), "clearly above": ("clearly above",)}[least]
        readings[f"{model}-{rival}"] = Reading(
            float(all(word in good for word, _ in words)), f"1 = {least}", note="; ".join(text for _, text in words)
        )
    return readings


def _figures(evaluation: Evaluation, horizon: str = "24h") -> dict[str, Reading]:
    readings = {}
    for model in evaluation.models:
        if model.horizon != horizon or "r2" not in model:
            continue
        for measure in ("r2", "qlike"):
            f = model[measure]
            readings[f"{measure} {model.model}"] = Reading(f.value, measure, note=f"95 % [{f.low:.4f}, {f.high:.4f}]")
    return readings


def hourly(effort: Effort, symbol: str = "BTC", tuned_on: Any = None) -> tuple[Contest, Evaluation]:
    """Next 24 hours of one symbol's 1h candles; test: the last fifth. Rows 1, 4 and 5 of the table."""
    ground = _ground(Recipe("1h", coarse=("4h", "1d")), [_hours(symbol, effort.bars)])
    contest = Contest(ground)
    contest.fit("historical", lambda _: new_model("historical").fit(ground.data()), 1)
    contest.fit("har", lambda _: new_model("har").fit(ground.data()), 1)
    contest.fit("harx", lambda _: new_model("harx").fit(ground.data()), 1)
    settings = tuned_on or _tuned(ground.data(), effort)
    contest.fit("stack", lambda seed: _stack(ground.data(), settings, seed), effort.seeds)
    contest.fit("arms", lambda seed: _arms(ground.data(seed), effort), effort.seeds)
    members = zip(contest.models["arms"], contest.models["stack"], strict=True)
    contest.models["ensemble"] = [combine({"arms": a, "harx_lightgbm": b}, ground.data()) for a, b in members]
    return contest, _judge(contest, ("historical", "har", "harx", "stack", "arms"))


def finer(effort: Effort) -> tuple[Contest, Evaluation]:
    """BTC 1m of 2021-2023: 1h base, volatility from 5m returns, arms of 5m, 4h and 1d. Row 2 of the table.

    Both `arms` and the base alone begin from networks that learned from other symbols' hours before BTC's validation range (printed with
    their time), and then learn from BTC.
    """
    minutes = _candles("BTC", "1m", "binance_BTCUSDT_1m_202[123].parquet", effort.bars * 60)
    ground = _ground(Recipe("1h", coarse=("4h", "1d"), fine=("5m",), volatility_timeframe="5m"), [minutes])
    contest = Contest(ground)
    contest.fit("har", lambda _: new_model("har").fit(ground.data()), 1)
    contest.fit("harx", lambda _: new_model("harx").fit(ground.data()), 1)
    settings = _tuned(ground.data(), effort)
    contest.fit("stack", lambda seed: _stack(ground.data(), settings, seed), effort.seeds)
    until = ground.split.cuts_ms[1]
    elsewhere: dict[str, list[Any]] = {}
    for name, recipe in (("pretraining base", Recipe("1h")), ("pretraining arms", Recipe("1h", coarse=("4h", "1d")))):
        contest.fit(name, lambda seed, recipe=recipe: _learned_elsewhere(recipe, until, effort, seed), effort.seeds)
        elsewhere[name] = contest.models.pop(name)
    contest.fit("base alone", lambda seed: _arms_on_base(ground.data(seed), effort, elsewhere["pretraining base"][seed]), effort.seeds)
    contest.fit("arms", lambda seed: _arms(ground.data(seed), effort, elsewhere["pretraining arms"][seed]), effort.seeds)
    members = zip(contest.models["arms"], contest.models["stack"], strict=True)
    contest.models["ensemble"] = [combine({"arms": a, "harx_lightgbm": b}, ground.data()) for a, b in members]
    return contest, _judge(contest, ("har", "harx", "stack", "base alone", "arms"))


def pooled(effort: Effort) -> tuple[Contest, Evaluation]:
    """One model for six symbols against six stacks and a pooled one. Row 3 of the table."""
    ground = _ground(Recipe("1h", coarse=("4h", "1d")), [_hours(s, effort.bars) for s in POOL])
    contest = Contest(ground)
    contest.fit("harx", lambda _: new_model("harx").fit(ground.data()), 1)
    settings = _tuned(ground.data(), replace(effort, trials=max(2, effort.trials // 3)))
    contest.fit("pooled stack", lambda seed: _stack(ground.data(), settings, seed), effort.seeds)
    apart = [_tuned(ground.data(only=s), effort) if s == 0 else None for s in range(len(POOL))]
    contest.own["six stacks"] = [[_stack(ground.data(only=s), apart[0], seed) for s in range(len(POOL))] for seed in range(effort.seeds)]
    contest.fit("arms", lambda seed: _arms(ground.data(seed), effort), effort.seeds)
    members = zip(contest.models["arms"], contest.models["pooled stack"], strict=True)
    contest.models["ensemble"] = [combine({"arms": a, "harx_lightgbm": b}, ground.data()) for a, b in members]
    return contest, _judge(contest, ("harx", "pooled stack", "six stacks", "arms"))


# --- items -------------------------------------------------------------------------------------------------------------------------


def _row_hourly(small: bool) -> dict[str, Reading]:
    contest, evaluation = hourly(SMALL if small else Effort())
    wanted = [("arms", "stack", "level"), ("arms", "harx", "clearly above")]
    wanted += [("ensemble", rival, "clearly above") for rival in ("arms", "stack")]
    readings = {"seconds": Reading(float(np.mean(contest.cpu_seconds["arms"])), "CPU s a seed"), **_reached(evaluation, wanted)}
    readings |= _figures(evaluation) | _distribution(evaluation, "arms") | _distribution(evaluation, "ensemble")
    return readings


def _distribution(evaluation: Evaluation, model: str) -> dict[str, Reading]:
    """CRPS skill beside the best scaled quantiles', coverage of the 90 % interval, MSE against zero, per horizon."""
    readings = {}
    for horizon in evaluation.horizons:
        ours = evaluation.compare(model, "historical", horizon, "crps")
        rivals = {b: evaluation.compare(b, "historical", horizon, "crps") for b in ("har", "harx", "stack")}
        best = max((c.value, b) for b, c in rivals.items() if c is not None)
        assert ours is not None
        word = _word(evaluation, model, best[1], horizon, "crps")
        readings[f"crps {model} {horizon}"] = Reading(
            ours.value - best[0], "skill over the best scaled quantiles", note=f"{ours.value:.4f}; {best[1]} {best[0]:.4f}; {word[1]}"
        )
        cover = evaluation.of(model, horizon)["coverage_90"]
        off = abs(cover.value - 0.9) / (0.02 if horizon == "1h" else 2 * cover.standard_error)
        note = f"{cover.value:.4f}, standard error {cover.standard_error:.4f}"
        readings[f"coverage {model} {horizon}"] = Reading(off, "share of the allowed miss", note=note)
        mse = evaluation.compare(model, "reference", horizon, "mse")
        assert mse is not None
        readings[f"mse {model} {horizon}"] = Reading(mse.value, "skill against zero", note=f"[{mse.low:+.4f}, {mse.high:+.4f}]")
    return readings


def _row_finer(small: bool) -> dict[str, Reading]:
    contest, evaluation = finer(SMALL if small else Effort())
    readings = {"seconds": Reading(float(np.mean(contest.cpu_seconds["arms"])), "CPU s a seed")}
    readings |= _reached(evaluation, [("arms", "base alone", "clearly above"), ("arms", "stack", "level")])
    return readings | _figures(evaluation)


def _row_pooled(small: bool) -> dict[str, Reading]:
    contest, evaluation = pooled(SMALL if small else Effort())
    better = evaluation.best(("pooled stack", "six stacks"), "24h", "r2") or "pooled stack"
    word, text = _word(evaluation, "arms", better, "24h", "r2")
    readings = {"arms-stack": Reading(float(word != "below"), "1 = level", note=f"against the {better}: {text}")}
    readings["seconds"] = Reading(float(np.mean(contest.cpu_seconds["arms"])), "CPU s a seed")
    return readings | _figures(evaluation)


def _value(tool: str, figure: str) -> Callable[[Mapping[str, Mapping[str, float]]], float]:
    return lambda values: values[tool][figure]


def _goals(reaches: Mapping[str, str]) -> tuple[Goal, ...]:
    return tuple(Goal("candelabra", figure, _value("candelabra", figure), reach, figure == "seconds") for figure, reach in reaches.items())


_HOURLY = {"seconds": "<= 180", "arms-stack": ">= 1", "arms-harx": ">= 1", "ensemble-arms": ">= 1", "ensemble-stack": ">= 1"}
_HOURLY |= {f"crps arms {h}": ">= 0" for h in ("1h", "6h", "24h")}
_HOURLY |= {f"coverage arms {h}": "<= 1" for h in ("1h", "6h", "24h")}
_HOURLY |= {f"mse arms {h}": ">= -0.002" for h in ("1h", "6h", "24h")}

ITEMS = (
    Item(
        "main/quality/hourly",
        "next-24h volatility and returns of BTC 1h 2018-2023, last fifth: arms, ensemble and the tuned stack",
        {"candelabra": Tool(_row_hourly, ("lightgbm", "optuna"))},
        _goals(_HOURLY),
        rounds=1,
    ),
    Item(
        "main/quality/finer",
        "the same from 5m returns on BTC 1m 2021-2023: several timeframes against the base alone and the tuned stack",
        {"candelabra": Tool(_row_finer, ("lightgbm", "optuna"))},
        _goals({"arms-base alone": ">= 1", "arms-stack": ">= 1"}),
        rounds=1,
    ),
    Item(
        "main/quality/pooled",
        "one model for BTC, ETH, LTC, XRP, ADA, LINK against the better of six stacks and a pooled one (mean R2)",
        {"candelabra": Tool(_row_pooled, ("lightgbm", "optuna"))},
        _goals({"arms-stack": ">= 1"}),
        rounds=1,
        in_small=False,
    ),
)


def _show(contest: Contest, evaluation: Evaluation) -> None:
    for horizon in evaluation.horizons:
        print(f"\n{horizon}, {', '.join(evaluation.symbols)}")
        for model in evaluation.models:
            if model.horizon == horizon:
                named = [n for n in ("r2", "qlike", "crps", "coverage_90", "mse", "direction") if n in model]
                print(f"  {model.model:14s} " + "  ".join(f"{n} {model[n].value:.5g}" for n in named))
        for c in evaluation.comparisons:
            if c.horizon == horizon and c.model in ("arms", "ensemble") and c.measure != "mae":
                print(f"  {c.model} - {c.baseline}, {c.measure}: {c.value:+.4f} [{c.low:+.4f}, {c.high:+.4f}]")
    print("\nCPU-seconds:", {name: [round(x) for x in seconds] for name, seconds in contest.cpu_seconds.items()})


def main(arguments: Sequence[str]) -> int:
    """``python -m bench.quality hourly|finer|pooled [SYMBOL] [--small]``."""
    import torch

    torch.set_num_threads(1)
    words = [a for a in arguments if not a.startswith("--")]
    effort = SMALL if "--small" in arguments else Effort()
    rows: dict[str, Callable[[], tuple[Contest, Evaluation]]] = {
        "hourly": lambda: hourly(effort, *words[1:2]),
        "finer": lambda: finer(effort),
        "pooled": lambda: pooled(effort),
    }
    if not words or words[0] not in rows:
        print(main.__doc__, file=sys.stderr)
        return 2
    try:
        _show(*rows[words[0]]())
    except Absent as missing:
        print(missing, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
