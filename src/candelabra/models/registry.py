"""Names of the models, and loading a fitted one from a folder without knowing what it is."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final

from candelabra.errors import BundleError
from candelabra.models.base import FittedModel
from candelabra.registry import Entry, Registry

__all__ = ["MODELS", "load_fitted", "new_model"]

MODELS: Final = Registry("model")
"""Models by name; third parties add theirs through the entry-point group ``candelabra.model``.

``target`` is a `models.base.Model` class built from its settings; its module has ``load(folder)`` for what the fitted model saved.
"""

_PLAIN: Final = {
    "zero": ("Zero", "the price stays where it is"),
    "drift": ("Drift", "the price goes on as on average"),
    "historical": ("Historical", "unconditional quantiles of past returns"),
    "persistence": ("Persistence", "the last day's volatility goes on"),
    "seasonal": ("Seasonal", "volatility of the same hours a week ago"),
    "ewma": ("Ewma", "exponentially weighted volatility"),
    "har": ("Har", "a day's, a week's and a month's volatility"),
    "garch": ("Garch", "GARCH(1,1) with Student-t innovations"),
}
_BASELINES: Final = "candelabra.models.baselines"
_BOOSTING: Final = "candelabra.models.boosting"
_ENSEMBLE: Final = "candelabra.models.ensemble"

for _name, (_class, _summary) in _PLAIN.items():
    MODELS.add(Entry(_name, f"{_BASELINES}:NoSettings", f"{_BASELINES}:{_class}", _summary))
MODELS.add(Entry("harx", "candelabra.models.linear:HarxSettings", f"{_BASELINES}:Harx", "HAR with ranges, volume and the calendar ahead"))
MODELS.add(Entry("lightgbm", f"{_BOOSTING}:LightGbmSettings", f"{_BOOSTING}:LightGbm", "gradient-boosted trees on tabular features"))
MODELS.add(Entry("harx_lightgbm", f"{_BOOSTING}:LightGbmSettings", f"{_BOOSTING}:HarxLightGbm", "HAR-X, and trees on what it leaves"))
MODELS.add(Entry("ensemble", f"{_ENSEMBLE}:EnsembleSettings", f"{_ENSEMBLE}:Ensemble", "several models, weighed on validation"))
_NETWORK: Final = "candelabra.training.fit:NetworkModel"  # a name, not an import: rooms still point one way
MODELS.add(Entry("arms", "candelabra.models.settings:ArmsSettings", _NETWORK, "a causal Transformer per timeframe, joined (the flagship)"))
MODELS.add(Entry("gpt2", "candelabra.models.settings:Gpt2Settings", _NETWORK, "Hugging Face GPT-2 blocks on candle features"))


def new_model(name: str, settings: Any = None) -> Any:
    """The model called ``name``, ready to fit; default settings when None. UsageError for an unknown name."""
    return MODELS.load(name)(MODELS.settings(name)() if settings is None else settings)


def load_fitted(folder: Path) -> FittedModel:
    """The fitted model that was saved in ``folder``: its ``model.json`` says under ``"model"`` which one it is.

    Raises BundleError when that is missing or unreadable, UsageError when the model is not installed.
    """
    path = folder / "model.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} does not say which model is saved here ({error!r}): restore it from the sealed bundle") from error
    module = importlib.import_module(MODELS.entry(name).target.partition(":")[0])
    fitted: FittedModel = module.load(folder)
    return fitted
