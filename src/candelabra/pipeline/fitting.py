"""Every model of a run, fitted once: the product, its members and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from candelabra.bundles.engines import NETWORKS
from candelabra.config.tree import Config
from candelabra.errors import MissingExtraError
from candelabra.models.base import FitData, FittedModel
from candelabra.models.ensemble import combine
from candelabra.models.network import FittedNetwork
from candelabra.models.registry import MODELS, new_model
from candelabra.progress import Reporter
from candelabra.training.fit import fit_network
from candelabra.training.loop import Progress, TrainingRun
from candelabra.training.precision import choose_precision, choose_threads
from candelabra.training.regime_problem import RegimeTargets

__all__ = ["JOINT", "Fitted", "fit_models", "product_name", "resolved", "watch_of"]

JOINT: Final = "arms"
"""The network that can learn regimes beside the forecast."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """Fitted models by name, which of them is the product, and how the networks' trainings went."""

    models: dict[str, FittedModel]
    product: str
    runs: dict[str, list[TrainingRun]]
    skipped: dict[str, str]


def product_name(config: Config) -> str:
    """The model a run is about: the ensemble when it has members, else the model itself."""
    return "ensemble" if config.ensemble.members else config.model.name


def resolved(config: Config) -> Config:
    """The config with what a probe decides written into it, so that a resumed run decides the same."""
    threads = choose_threads(config.training.threads, int(getattr(config.model.settings, "width", 128)))
    training = replace(config.training, threads=threads, precision=choose_precision(config.training.precision))
    return replace(config, training=training)


def fit_models(
    config: Config,
    data: FitData,
    progress: Reporter,
    folder: Path | None = None,
    start: Mapping[str, FittedNetwork] | None = None,
    regimes: RegimeTargets | None = None,
) -> Fitted:
    """Fit baselines, members and the product on ``data``; ``folder`` keeps the networks' checkpoints; ``start``: see `start`.

    ``regimes``: labels that `arms` learns beside the forecast.
    """
    torch.set_num_threads(config.training.threads or 1)
    product = product_name(config)
    members = config.ensemble.members or (config.model.name,)
    names = list(dict.fromkeys((*config.baselines, *members, *(() if product == "ensemble" else (product,)))))
    models: dict[str, FittedModel] = {}
    runs: dict[str, list[TrainingRun]] = {}
    skipped: dict[str, str] = {}
    with progress.stage("fit baselines", total=sum(n not in NETWORKS for n in names)):
        for name in (n for n in names if n not in NETWORKS):
            settings = config.model.settings if name == config.model.name else None
            try:
                models[name] = new_model(name, settings).fit(data)
            except MissingExtraError as missing:
                if name in members:
                    raise
                skipped[name] = str(missing)
                progress.note(f"{name} is left out: {missing}")
            progress.advance(1)
    for name in (n for n in names if n in NETWORKS):
        settings = config.model.settings if name == config.model.name else MODELS.settings(name)()
        training = config.training
        with progress.stage(f"train {name}", total=(training.seeds + (training.rehearsal > 0)) * training.steps):
            models[name], runs[name] = fit_network(
                data,
                settings,
                training,
                config.scaling,
                folder=folder / name if folder else None,
                progress=watch_of(progress, training.evaluate_every),
                anchor=models.get(settings.anchor),
                start=(start or {}).get(name),
                regimes=regimes if name == JOINT else None,
            )
        for run in runs[name]:
            progress.note(f"{name}: best at step {run.best_step} of {run.steps} ({run.reason}, {run.cpu_seconds:.0f} CPU-seconds)")
    if product == "ensemble":
        with progress.stage("weigh the ensemble"):
            models["ensemble"] = combine({name: models[name] for name in members}, data, config.ensemble.shrink)
    return Fitted(models, product, runs, skipped)


def watch_of(progress: Reporter, every: int) -> Callable[[int], Progress]:
    """How the trainings of a run's seeds are shown: ``every`` steps at a time."""

    def of_seed(_: int) -> Progress:
        def advance(_step: int, _steps: int, train: float, validation: float) -> None:
            progress.advance(every, loss=train, validation=validation)

        return advance

    return of_seed
