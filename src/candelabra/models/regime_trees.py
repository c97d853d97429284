"""LightGBM on what the last bars looked like at several spans: the strongest rival without a network. Decoders are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.models.regime_baselines import RegimeAnswer, checked_codes
from candelabra.models.regime_features import SPANS, multi_scale

__all__ = ["RegimeTrees", "RegimeTreesSettings", "fit_regime_trees"]


@dataclass(frozen=True)
class RegimeTreesSettings:
    """LightGBM's numbers; ``spans`` of the columns in bars."""

    rounds: int = 120
    learning_rate: float = 0.06
    leaves: int = 15
    least_rows: int = 200
    feature_share: float = 0.6
    row_share: float = 0.7
    l2: float = 10.0
    spans: tuple[int, ...] = SPANS
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.rounds, self.least_rows) < 1 or self.leaves < 2 or self.learning_rate <= 0 or not self.spans or min(self.spans) < 1:
            raise UsageError(f"{self} cannot be: rounds, least_rows and spans >= 1, leaves >= 2, learning_rate > 0")
        if not 0 < self.feature_share <= 1 or not 0 < self.row_share <= 1:
            raise UsageError("feature_share and row_share are shares: give numbers in (0, 1]")


@dataclass(frozen=True, eq=False)
class RegimeTrees:
    """One ensemble for all series; ``booster`` is LightGBM's."""

    settings: RegimeTreesSettings
    labels: int
    booster: Any = field(repr=False)
    causal: ClassVar[bool] = True

    def answer(self, candles: Candles) -> RegimeAnswer:
        """Probabilities of every bar and the most probable label."""
        chance = np.asarray(self.booster.predict(multi_scale(candles, self.settings.spans), num_threads=1), np.float64)
        return RegimeAnswer(np.argmax(chance, 1).astype(np.int16), chance)


def fit_regime_trees(
    candles: Sequence[Candles], codes: Sequence[ArrayLike], labels: int, settings: RegimeTreesSettings | None = None
) -> RegimeTrees:
    """Trees on the labelled bars of all series; the same seed gives the same trees (one thread, deterministic histograms)."""
    import lightgbm

    chosen = settings or RegimeTreesSettings()
    truth = checked_codes(candles, codes, labels)
    x: list[NDArray[np.float32]] = [multi_scale(one, chosen.spans)[code >= 0] for one, code in zip(candles, truth, strict=True)]
    parameters = {
        "objective": "multiclass",
        "num_class": labels,
        "learning_rate": chosen.learning_rate,
        "num_leaves": chosen.leaves,
        "min_data_in_leaf": chosen.least_rows,
        "feature_fraction": chosen.feature_share,
        "bagging_fraction": chosen.row_share,
        "bagging_freq": 1,
        "lambda_l2": chosen.l2,
        "max_bin": 127,
        "seed": chosen.seed,
        "num_threads": 1,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(np.concatenate(x), np.concatenate([code[code >= 0] for code in truth]), params=parameters)
    return RegimeTrees(chosen, labels, lightgbm.train(parameters, data, chosen.rounds))
