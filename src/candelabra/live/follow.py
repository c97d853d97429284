"""`Follower`: one symbol followed by a bundle: closed candles in, for every base bar what was said at its close, once.

Candles are taken base bar by base bar, however they arrive, so that what is said depends on them and on where the follower began, and on
nothing else: the same beginning and the same candles give the same bits again (`replay`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from candelabra.bundles.predictor import Prediction, Predictor
from candelabra.bundles.stream import OnnxStream
from candelabra.candles.frame import Candles
from candelabra.errors import DataError
from candelabra.live.feed import spanning
from candelabra.models.segmenter_stream import RegimeBar
from candelabra.windows.series import Series

__all__ = ["Follower", "Step"]


@dataclass(frozen=True, eq=False)
class Step:
    """What one base bar's time brought, up to its close ``as_of_ms``.

    ``candles``: those that closed in it; none where there is no base bar at all. ``prediction``: None where there is none, or something the
    model reads is not known (as for a while after a long gap).
    """

    symbol: str
    as_of_ms: int
    candles: Candles
    prediction: Prediction | None
    regimes: tuple[RegimeBar, ...]


class Follower:
    """A bundle on one symbol, from ``history``: candles of one timeframe whose span ends at a base close.

    ``keep``: see `OnnxStream`. Raises DataError where the history is too short for a forecast. Regimes are told once enough was heard for
    them too (``follows_regimes``).
    """

    def __init__(self, predictor: Predictor, history: Candles, keep: Mapping[str, int] | None = None) -> None:
        base = predictor.recipe.base
        if int(base.floor(history.span[1])) != history.span[1]:
            raise DataError(f"{history.symbol}: a history to follow from must end at a close of {base} bars, not at {history.span[1]}")
        self.symbol, self.predictor, self.keep = history.symbol, predictor, dict(keep or {})
        self._as_of_ms = history.span[1]
        self._stream = OnnxStream(predictor, history, keep=self.keep)

    @property
    def as_of_ms(self) -> int:
        """Up to which base close everything was said."""
        return self._as_of_ms

    @property
    def follows_regimes(self) -> bool:
        """Whether enough was heard to tell the bundle's regimes."""
        return self._stream.follows_regimes

    @property
    def series(self) -> Series:
        """What the model saw at the newest base close."""
        return self._stream.series

    def advance(self, candles: Candles) -> Iterator[Step]:
        """Every base bar that has ended within the span of ``candles``, in order; what lies behind `as_of_ms` is passed over.

        The rest, of a bar still forming, is not taken: give it again with what comes after it. DataError when the candles begin later
        than this has heard.
        """
        if candles.span[0] > self._as_of_ms:
            raise DataError(
                f"{self.symbol}: candles from {candles.span[0]} on leave out what comes after {self._as_of_ms}: give those first"
            )
        base = self.predictor.recipe.base
        while (end := int(base.next(self._as_of_ms))) <= candles.span[1]:
            yield self._step(spanning(candles, self._as_of_ms, end), end)

    def _step(self, candles: Candles, end: int) -> Step:
        # a bar that the history ended inside forms once more with what comes after it: it was said before, and is not said again
        told = [one for one in self._stream.push(candles) if one.as_of_ms == end] if len(candles) else []
        self._as_of_ms = end
        return Step(self.symbol, end, candles, told[0] if told else None, self._stream.regime_bars if len(candles) else ())
