"""Every registered model keeps the laws by the public check, and the check catches what breaks them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.models.base import FitData, FittedModel, ModelOutput
from candelabra.models.registry import MODELS, new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.testing import LawBroken, check_model, example_candles, example_recipe
from candelabra.training.fit import NetworkModel
from candelabra.training.settings import TrainingSettings
from candelabra.windows.series import Series

RECIPE = example_recipe(coarse=("4h",), fine=())
SLOW = {"lightgbm", "harx_lightgbm", "ensemble", "garch", "gpt2"}
TRAINING = TrainingSettings(sequence_length=48, batch_size=4, steps=4, evaluate_every=2, rehearsal=0.0, precision="float32", threads=1)
NETWORKS: dict[str, Any] = {
    "arms": ArmsSettings(
        width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
        anchor="har",
    ),
    "gpt2": Gpt2Settings(width=16, layers=1, heads=2, context_length=12, anchor="har"),
}  # fmt: skip


@pytest.fixture(scope="module")
def candles() -> list[Candles]:
    return [example_candles("1h", 2600, seed=k, symbol=f"SIM{k}/USDT") for k in (1, 2)]


def model(name: str) -> Any:
    if name in NETWORKS:
        return NetworkModel(NETWORKS[name], TRAINING)
    if name == "garch" and importlib.util.find_spec("arch") is None:
        pytest.skip("the library arch is not installed: pip install 'candelabra[baselines]'")
    return new_model(name)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in MODELS.names()])
def test_every_registered_model_keeps_the_laws(name: str, candles: list[Candles]) -> None:
    fitted = check_model(model(name), candles=candles, recipe=RECIPE, fresh=name != "seasonal")  # which knows last week only
    assert fitted.name == name


@dataclass(frozen=True)
class Bad:
    """HAR, spoilt in one way."""

    way: str
    name: ClassVar[str] = "bad"

    def fit(self, data: FitData) -> FittedModel:
        if self.way == "reads the test range":
            every = tuple(np.arange(len(s)) for s in data.series)
            return new_model("har").fit(replace(data, train_rows=every))
        return Spoilt(new_model("har").fit(data), self.way)


@dataclass(frozen=True)
class Spoilt:
    inner: FittedModel
    way: str
    responds: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return self.inner.name

    def predict(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        if self.way == "looks ahead":
            return self.inner.predict(series, np.minimum(rows + 1, len(series) - 1))
        if self.way == "is stale":
            return self.inner.predict(series, np.maximum(rows - 1, 0))
        output = self.inner.predict(series, rows)
        if self.way == "falls":
            return replace(output, quantiles=np.ascontiguousarray(output.quantiles[..., ::-1]))
        if self.way == "depends on its company":
            return replace(output, mean=output.mean + np.float32(len(rows)))
        return output

    def save(self, folder: Path) -> None:
        self.inner.save(folder)
        if self.way == "pickles":
            (folder / "weights.bin").write_bytes(__import__("pickle").dumps([1, 2]))


@pytest.mark.parametrize(
    ("way", "word"),
    [
        ("looks ahead", "moved when only later candles changed"),
        ("is stale", "stale"),
        ("falls", "quantiles fall"),
        ("depends on its company", "alone|cut off"),
        ("reads the test range", "outside the training and validation rows"),
        ("pickles", r"saved as pickle: weights.bin"),
    ],
)
def test_a_model_that_breaks_a_law_is_caught(way: str, word: str, candles: list[Candles]) -> None:
    with pytest.raises(LawBroken, match=word):
        check_model(Bad(way), candles=candles[:1], recipe=RECIPE)
