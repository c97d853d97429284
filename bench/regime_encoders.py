"""The two encoders of regimes alone on the ten benchmark markets: what each says raw and decoded, and what each costs.

``python -m bench run regimes/encoders``. Both learn from the same inputs, with the same steps; decoders are chosen on validation within the
bounds of `bench.segmentation`. The switching and logistic sources, which `train` weighs a network against, are left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.item import Goal, Item, Reading, Tool
from bench.regime_segmenter import _data, _judge, _seal, over_markets
from bench.segmentation import DELAY, FLIPS, Ground, ground
from candelabra.candles.simulate import REGIMES

SEEDS = 3
FIGURES = {"macro_f1": "macro-F1", "covering": "covering"}
Floats = NDArray[np.float64]


def _shown(on: Ground, chances: Sequence[Floats], durations: Any) -> dict[str, list[NDArray[np.int16]]]:
    """The likeliest label of each bar, and what the decoder shows that does best on validation."""
    from candelabra.training.decoder_choice import choose_decoder
    from candelabra.training.regime_settings import Bounds

    tried = [
        choose_decoder(
            kind, [p[: on.learn] for p in chances], [m.regime[: on.learn] for m in on.markets], REGIMES, durations,
            bounds=Bounds(FLIPS, DELAY), start=[on.train] * len(on.markets),
        )
        for kind in ("hysteresis", "markov")
    ]  # fmt: skip
    decoder, _ = max(tried, key=lambda one: max(trial.worth for trial in one[1]))
    return {"raw": [np.argmax(p, axis=1).astype(np.int16) for p in chances], "decoded": [decoder.decode(p) for p in chances]}


def _streamed(network: Any, table: NDArray[np.float32]) -> float:
    """CPU milliseconds of one bar more, median."""
    from candelabra.models.regime_encoders import encoder_stream

    stream, took = encoder_stream(network), []
    stream.push(table[:1_000])
    for k in range(1_000, 2_000):
        began = time.thread_time()
        stream.push(table[k : k + 1])
        took.append(time.thread_time() - began)
    return 1e3 * float(np.median(took))


def _run(small: bool) -> dict[str, Reading]:
    from candelabra.models.regime_tcn import TcnSettings
    from candelabra.models.regime_transformer import RegimeTransformerSettings
    from candelabra.training.regime_fit import fit_regime_network
    from candelabra.training.regime_settings import regime_training

    on, seeds = ground(small), 1 if small else SEEDS
    training = replace(regime_training(), seeds=seeds) if not small else replace(regime_training(256), steps=15)
    found: dict[str, dict[str, Floats]] = {}
    readings: dict[str, Reading] = {}
    for settings in (TcnSettings(), RegimeTransformerSettings()):
        kind = settings.kind
        fit = fit_regime_network(_data(small), settings, training)
        tables = [fit.inputs.table(m.candles) for m in on.markets]
        began = time.process_time()
        chances = [[network.probabilities(table)["1h"] for table in tables] for network in fit.networks]
        cost = (time.process_time() - began) / (seeds * sum(map(len, tables))) * 1e5
        shown = [_shown(on, one, fit.durations["1h"]) for one in chances]
        for way in ("raw", "decoded"):
            judged = [_judge(on, one[way]) for one in shown]
            for figure, unit in FIGURES.items():
                values = found.setdefault(f"{way}/{figure}", {})[kind] = np.mean([one[figure] for one in judged], axis=0)
                low, high = over_markets(values)
                note = f"[{low:.3f}, {high:.3f}] over {len(values)} markets, {seeds} seed{'s' * (seeds > 1)}"
                readings[f"{kind}/{way}/{figure}"] = Reading(float(values.mean()), unit, note=note)
        spent = float(np.mean([run.cpu_seconds for run in fit.runs]))
        steps = ", ".join(f"{run.best_step} of {run.steps}" for run in fit.runs)
        readings |= {
            f"{kind}/training": Reading(spent, "CPU s a network", note=f"best step {steps}"),
            f"{kind}/cost": Reading(cost, "CPU s for 100k bars", note="inputs not counted"),
            f"{kind}/bar": Reading(_streamed(fit.networks[0], tables[0]), "CPU ms a new bar", note="inputs not counted"),
        }
    for name, values in found.items():
        low, high = over_markets(values["transformer"] - values["convolution"])
        apart = float((values["transformer"] - values["convolution"]).mean())
        readings[f"apart/{name}"] = Reading(apart, FIGURES[name.partition("/")[2]], note=f"[{low:+.3f}, {high:+.3f}] over markets, paired")
    return {"": Reading(readings["transformer/decoded/macro_f1"].value, "macro-F1", _seal(on)), **readings}


def _own(figure: str) -> Any:
    return lambda v: v["candelabra"][figure]


ENCODERS = Item(
    "regimes/encoders",
    "ten simulated markets: the transformer beside the convolution, raw and decoded, what training, history and a new bar cost",
    {"candelabra": Tool(_run, ("torch",))},
    (
        Goal("candelabra", "apart/decoded/macro_f1", _own("apart/decoded/macro_f1"), ">= -0.01"),
        Goal("candelabra", "apart/decoded/covering", _own("apart/decoded/covering"), ">= -0.01"),
        Goal("candelabra", "transformer/bar", _own("transformer/bar"), "<= 1", absolute=True),
        Goal("candelabra", "convolution/bar", _own("convolution/bar"), "<= 1", absolute=True),
    ),
    rounds=1,  # seeds are inside
    in_small=False,
    limit=7_200,
)
ITEMS = (ENCODERS,)
