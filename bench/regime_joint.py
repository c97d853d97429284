"""Forecast and regimes in one network beside each alone: what either loses, on real hours.

``python -m bench run regimes/joint``: BTC 1h of 2018-2023 (4h and 1d beside it), labels of the centred window at 1h, 4h and 1d, the
default settings and split of ``train``, means of 3 seeds. Forecasts: mean over horizons of R2 and QLIKE of `arms` on the test range;
regimes: macro-F1 and covering of the filtered product (source and decoder chosen on validation), means over the timeframes with 100 or
more training segments.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.item import Goal, Item, Reading, Tool
from bench.quality import SMALL, Effort, _ground, _hours, _judge
from candelabra.candles.resample import resample
from candelabra.evaluation.regimes import FEW_SEGMENTS
from candelabra.metrics.segments import segment_scores
from candelabra.regimes.centred_window import CentredWindow
from candelabra.regimes.segmentation import REGIME_LABELS
from candelabra.windows.recipe import Recipe

FRAMES = ("1h", "4h", "1d")


def _both(small: bool) -> tuple[dict[str, float], dict[str, float], str]:
    """Figures of the joint model, of each alone, and what there was to learn from."""
    from bench.quality import Contest
    from candelabra.features.scaling import ScalerSettings
    from candelabra.models.network import regime_states
    from candelabra.models.regime_inputs import candles_at
    from candelabra.models.segmenter import BaseStates
    from candelabra.models.settings import ArmsSettings
    from candelabra.training.fit import fit_network
    from candelabra.training.regime_fit import RegimeData, fit_regime_network
    from candelabra.training.segmenter_fit import fit_segmenter
    from candelabra.training.settings import TrainingSettings

    effort = SMALL if small else Effort()
    ground = _ground(Recipe("1h", coarse=FRAMES[1:]), [_hours("BTC", effort.bars)])
    series, cuts = ground.series[0], ground.split.cuts_ms
    bars = {tf: series.base_candles if tf == "1h" else resample(series.base_candles, tf) for tf in FRAMES}
    segments = {tf: (CentredWindow().label(own),) for tf, own in bars.items() if tf != "1d" or not small}
    data = RegimeData((series.base_candles,), REGIME_LABELS, segments, cuts[1], cuts[2])
    training = TrainingSettings(threads=1)
    if effort.steps:
        training = replace(training, steps=effort.steps, evaluate_every=effort.steps)
    contest = Contest(ground, models={"joint": [], "alone": []})
    regimes: dict[str, list[tuple[float, float]]] = {"joint": [], "alone": []}
    counts: dict[str, int] = {}
    for seed in range(effort.seeds):
        convolution = fit_regime_network(data, seed=seed)
        counts = {name: d.segments for name, d in convolution.durations.items()}
        taught = convolution.corrections(data, [series.base_candles])
        for name in contest.models:
            network, _ = fit_network(
                ground.data(seed), ArmsSettings(), training, ScalerSettings(fill=0.0), regimes=taught if name == "joint" else None
            )
            contest.models[name].append(network)
            states = None
            if name == "joint":
                prepared = network.spec.prepare(series)
                logits = regime_states(network.modules, prepared, 0, len(series))  # type: ignore[arg-type]
                logits[: prepared.first] = np.nan
                states = [BaseStates(series.close_time, logits)]
            fit = fit_segmenter(data, network=convolution, states=states, seed=seed)
            asked = None if states is None else lambda _, told=states[0]: told
            told = replace(fit.segmenter, ask=asked).regimes(series.base_candles)
            for tf, words in convolution.heads.items():
                own = candles_at(series.base_candles, bars[tf].timeframe)
                if counts[tf] < FEW_SEGMENTS and not small:
                    continue
                truth = data.codes(tf, 0, own, np.iinfo(np.int64).max - 1, words)[0]
                test = own.close_time > cuts[3]
                score = segment_scores(truth[test], told[tf].code[test], labels=len(words))
                regimes[name].append((score.macro_f1, score.covering))
    evaluation = _judge(contest, ("alone",))
    found: dict[str, dict[str, float]] = {}
    for name in contest.models:
        rows = [one for one in evaluation.models if one.model == name and "r2" in one]
        f1, cover = np.mean(regimes[name], axis=0)
        found[name] = {
            "r2": float(np.mean([one["r2"].value for one in rows])), "qlike": float(np.mean([one["qlike"].value for one in rows])),
            "macro_f1": float(f1), "covering": float(cover),
        }  # fmt: skip
    note = ", ".join(f"{tf}: {count} training segments" for tf, count in counts.items())
    return found["joint"], found["alone"], note


def _run(small: bool) -> dict[str, Reading]:
    joint, alone, note = _both(small)
    units = {"r2": "R2 of volatility", "qlike": "QLIKE", "macro_f1": "macro-F1", "covering": "covering"}
    readings = {"": Reading(joint["r2"], units["r2"], note=note)} | {k: Reading(v, units[k]) for k, v in joint.items()}
    return readings | {f"alone/{k}": Reading(v, units[k]) for k, v in alone.items()}


ITEM = Item(
    "regimes/joint",
    "forecast and regimes learned in one network, beside each learned alone (BTC 1h, labels at 1h, 4h, 1d)",
    {"candelabra": Tool(_run, ("torch",))},
    (
        Goal("candelabra", "r2", lambda v: v["candelabra"]["r2"] / v["candelabra"]["alone/r2"], ">= 0.99"),
        Goal("candelabra", "qlike", lambda v: v["candelabra"]["qlike"] / v["candelabra"]["alone/qlike"], "<= 1.01"),
        Goal("candelabra", "macro_f1", lambda v: v["candelabra"]["macro_f1"] - v["candelabra"]["alone/macro_f1"], ">= -0.005"),
        Goal("candelabra", "covering", lambda v: v["candelabra"]["covering"] - v["candelabra"]["alone/covering"], ">= -0.005"),
    ),
    rounds=1,
    in_small=False,
    limit=14_400,  # three seeds, each jointly and alone: over half an hour where others share the machine
)
ITEMS = (ITEM,)
