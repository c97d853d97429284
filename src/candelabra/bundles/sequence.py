"""What a network says of a bare sequence of features: no candles, no times, and so no coarse bars and no volatility level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.engines import OnnxNetwork
from candelabra.bundles.predictor import Predictor
from candelabra.errors import DataError, UsageError
from candelabra.models.base import FittedModel, ModelOutput

__all__ = ["SequenceForecaster"]


@dataclass(frozen=True, eq=False)
class SequenceForecaster:
    """A bundle's network, asked with rows of the base timeframe's features alone.

    Features are level-free, so a sequence says how the market moves but not how much: the volatility of one base bar must be given, or the
    typical one of the training range is assumed. Coarse arms are silent, as they are at random in training; finer bars are typical ones.
    The answer is the network's own, before the calibration of the bundle's product, which was fitted for candles.
    """

    name: str
    network: OnnxNetwork
    steps: tuple[int, ...]

    @classmethod
    def of(cls, predictor: Predictor) -> SequenceForecaster | None:
        """The first network of a bundle's model; None when it has none."""
        found = _first_network(predictor.model)
        return None if found is None else cls(found.name, found, predictor.recipe.steps)

    @property
    def rows(self) -> int:
        """Base bars that a sequence must have."""
        return self.network.windows[self.network.spec.base]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of a row's numbers, in order."""
        return self.network.spec.scalers[self.network.spec.base].names

    def forecast(self, sequence: Sequence[Sequence[float]], *, scaled: bool = False, volatility: float | None = None) -> ModelOutput:
        """The forecast after the last of ``rows`` base bars, oldest first (earlier ones change nothing).

        ``scaled``: the rows have been through the bundle's scaler already. ``volatility``: standard deviation of the log return of one base
        bar now. Raises DataError for another shape, UsageError where the typical volatility is not known.
        """
        spec = self.network.spec
        lengths = {len(row) for row in sequence}
        if len(sequence) < self.rows or lengths != {len(self.features)}:
            got = f"{len(sequence)} rows of {' or '.join(map(str, sorted(lengths)[:3])) or '0'} numbers"
            raise DataError(
                f"the sequence has {got}: {self.rows} rows of {len(self.features)} numbers are needed, one for each {spec.base} bar, "
                f"oldest first, in this order: {', '.join(self.features)}"
            )
        table = np.asarray(sequence[-self.rows :], np.float32)
        x = table if scaled else spec.scalers[spec.base].transform(table)
        quantiles, correction = self._run(x)
        return spec.finish(quantiles[None], correction[None], self._anchor(volatility)[None])

    def _anchor(self, volatility: float | None) -> NDArray[np.float64]:
        if volatility is not None:
            return np.asarray(np.log(volatility) + 0.5 * np.log(self.steps))
        typical = self.network.spec.typical_log_volatility
        if typical is None:
            raise UsageError(
                "this bundle was sealed before the typical volatility was kept, and features alone do not say how far the market moves: "
                'give "volatility", the standard deviation of the log return of one base bar'
            )
        return typical

    def _run(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        answers = []
        for session in self.network.sessions:
            feed: dict[str, NDArray[Any]] = {}
            for put in session.get_inputs():
                kind, _, name = put.name.partition(":")
                feed[put.name] = np.full(put.shape, -1, np.int64) if kind == "asof" else np.zeros(put.shape, np.float32)
                if kind == "x" and name == self.network.spec.base:
                    feed[put.name][0, :, : x.shape[1]] = x  # behind them a flat network has its coarse features, here typical ones
            answers.append(session.run(None, feed))
        quantiles = np.stack([q[0] for q, _ in answers]).mean(axis=0, dtype=np.float64)
        correction = np.stack([v[0] for _, v in answers]).mean(axis=0, dtype=np.float64)
        return quantiles.astype(np.float32), correction.astype(np.float32)


def _first_network(model: FittedModel) -> OnnxNetwork | None:
    if isinstance(model, OnnxNetwork):
        return model
    return next((n for m in getattr(model, "members", {}).values() if (n := _first_network(m)) is not None), None)
