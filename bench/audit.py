"""Trust items: what the causality audit catches, what it calls wrong that is not, and what it costs."""

from __future__ import annotations

import time

import numpy as np

from bench.item import Goal, Item, Reading, Tool

_CLEAN = 200


def _planted(small: bool) -> dict[str, Reading]:
    from candelabra.testing.planted import PLANTED
    from candelabra.testing.proof import audit_planted, missed

    chosen = PLANTED[::6] if small else PLANTED
    start = time.process_time()
    wrong = [text for text in (missed(p, audit_planted(p)) for p in chosen) if text]
    seconds = time.process_time() - start
    named = len(chosen) - len(wrong)
    note = f"{named} of {len(chosen)} planted defects named by column and distance. {'; '.join(wrong)}".strip()
    return {"": Reading(100 * named / len(chosen), "% named", note=note), "cost": Reading(seconds / len(chosen), "CPU s a defect")}


def _mutations(small: bool) -> dict[str, Reading]:
    from candelabra.testing.mutations import mutants, try_mutant

    outcomes = [try_mutant(m) for m in mutants(24 if small else 200)]
    alive = [o for o in outcomes if not o.equivalent]
    caught = [o for o in alive if o.caught]
    stated = [o for o in caught if o.measured is not None]
    right = [o for o in stated if o.measured]
    equal = "; ".join(f"{o.mutant.name}: {o.equivalent}" for o in outcomes if o.equivalent)
    missed = "; ".join(o.mutant.name for o in alive if not o.caught)
    note = f"{len(caught)} of {len(alive)} caught; missed: {missed or 'none'}; equivalent, {len(outcomes) - len(alive)}: {equal or 'none'}"
    return {
        "": Reading(100 * len(caught) / len(alive), "% recall", note=note),
        "distance": Reading(
            100 * len(right) / max(1, len(stated)), "% right", note=f"{len(right)} of {len(stated)} with a stated distance"
        ),
    }


_WHOLE = ("candelabra.regimes.change_points", "candelabra.regimes.hidden_markov")
"""Labellers whose labels are known at the end of the candles only: there is nothing to judge, and their libraries may be absent."""


def _false_alarms(small: bool) -> dict[str, Reading]:
    from candelabra.candles.resample import resample
    from candelabra.evaluation.causality import audit
    from candelabra.evaluation.subject import Effort
    from candelabra.evaluation.subjects import feature_subject, function_subject, labeller_subject
    from candelabra.evaluation.worlds import Market
    from candelabra.features.catalog import describe
    from candelabra.features.talib_functions import FUNCTIONS
    from candelabra.regimes.labeller import LABELLERS, new_labeller
    from candelabra.testing import example_candles

    five = example_candles("5m", bars=1_200 * 12)
    hours = Market.of(resample(five, "1h"))
    both = Market.of([five, resample(five, "1h")])
    specs = [row["name"] for row in describe()] + [f"talib.{name}" for name in FUNCTIONS]
    wrong = []
    for spec in specs[:: 12 if small else 1]:
        wrong += [f.words for f in audit(feature_subject([spec]), both if "fine" in spec else hours).findings]
    labellers = [name for name in LABELLERS.names() if LABELLERS.settings(name).__module__ not in _WHOLE]
    for name in labellers[:: 3 if small else 1]:
        wrong += [f.words for f in audit(labeller_subject(new_labeller(name)), hours).findings]
    models, names = _models(small)
    wrong += models
    random = np.random.default_rng(0)
    count = 10 if small else _CLEAN
    market = Market.of(example_candles(bars=700, seed=1))
    for k in range(count):
        parts = _parts(random)
        found = audit(function_subject(lambda c, parts=parts: _pipeline(c, parts), name=f"pipeline {k}"), market, effort=Effort(3, 3))
        wrong += [f"{parts}: {f.words}" for f in found.findings]
    tried = f"{len(specs[:: 12 if small else 1])} features, {len(labellers[:: 3 if small else 1])} labellers, {names} models"
    note = f"{tried}, {count} random clean pipelines. {'; '.join(wrong[:5])}".strip()
    return {"": Reading(float(len(wrong)), "false alarms", note=note)}


def _models(small: bool) -> tuple[list[str], int]:
    """Every registered model, fitted small, with its networks layer by layer in both modes."""
    import importlib.util

    from candelabra.evaluation.causality import audit
    from candelabra.evaluation.networks import audit_networks
    from candelabra.evaluation.subject import Effort
    from candelabra.evaluation.subjects import model_subject
    from candelabra.evaluation.worlds import Market
    from candelabra.models.registry import MODELS, new_model
    from candelabra.models.settings import ArmsSettings, Gpt2Settings
    from candelabra.testing import example_candles, example_data, example_recipe
    from candelabra.training.fit import NetworkModel
    from candelabra.training.settings import TrainingSettings

    training = TrainingSettings(sequence_length=48, batch_size=4, steps=2, evaluate_every=1, rehearsal=0.0, precision="float32", threads=1)
    arms = ArmsSettings(
        width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
        anchor="har",
    )  # fmt: skip
    networks = {"arms": arms, "gpt2": Gpt2Settings(width=16, layers=1, heads=2, context_length=13, anchor="har")}
    recipe = example_recipe(coarse=("4h",), fine=())
    candles = example_candles("1h", 2_600, seed=1)
    data, _ = example_data([candles], recipe)
    market = Market.of(candles)
    wrong = []
    names = [n for n in MODELS.names() if n != "garch" or importlib.util.find_spec("arch") is not None]
    for name in names[:4] if small else names:
        model = NetworkModel(networks[name], training) if name in networks else new_model(name)  # type: ignore[arg-type]
        fitted = model.fit(data)
        subject = model_subject(fitted, recipe, market, rows=40, alone=name != "seasonal")  # which knows last week only
        found = [audit(subject, market, effort=Effort.light()), *audit_networks(fitted, data.series[0])]
        wrong += [f"{name}: {f.words}" for one in found for f in one.findings]
    return wrong, len(names[:4] if small else names)


def _parts(random: np.random.Generator) -> list[tuple[str, int]]:
    words = ("rolling", "deviation", "expanding", "ewm", "rank", "quantile", "median", "filled")
    return [(str(random.choice(words)), int(random.integers(1, 60))) for _ in range(int(random.integers(1, 5)))]


def _pipeline(candles, parts):  # type: ignore[no-untyped-def]
    """A random pipeline that reads only the past, made of pandas' own pieces."""
    import pandas as pd

    log = pd.Series(np.log(candles.close))
    r, volume, high, low = log.diff(), pd.Series(candles.volume), pd.Series(candles.high), pd.Series(candles.low)
    pieces = {
        "rolling": lambda n: r.rolling(n).mean(),
        "deviation": lambda n: r.rolling(n + 1).std(),
        "expanding": lambda n: r - r.expanding(n).mean(),
        "ewm": lambda n: r.ewm(span=n, adjust=False).mean(),
        "rank": lambda n: volume.rolling(n + 1).rank(),
        "quantile": lambda n: log - log.rolling(n).quantile(0.8),
        "median": lambda n: high / low.rolling(n).median(),
        "filled": lambda n: r.rolling(n).sum().ffill(),
    }
    return {f"{what}_{k}": pieces[what](n).to_numpy() for k, (what, n) in enumerate(parts)}


PLANTED_ITEM = Item(
    "trust/audit/planted",
    "planted defects caught and named by column and distance",
    {"candelabra": Tool(_planted, ("torch",))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""], ">= 100"),),
    rounds=1,
)
MUTATIONS = Item(
    "trust/audit/mutations",
    "200 automatic mutations of the catalog: shift, window side, join key, fit range",
    {"candelabra": Tool(_mutations)},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], ">= 95"),
        Goal("candelabra", "distance", lambda v: v["candelabra"]["distance"], ">= 95"),
    ),
    rounds=1,
)
FALSE_ALARMS = Item(
    "trust/audit/false-alarms",
    "findings over the entire catalog, every labeller, every registered model and 200 random clean pipelines",
    {"candelabra": Tool(_false_alarms, ("pandas", "torch"))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),),
    rounds=1,
)
ITEMS = (PLANTED_ITEM, MUTATIONS, FALSE_ALARMS)
