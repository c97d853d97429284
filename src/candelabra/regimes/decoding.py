"""Decoders: from a classifier's probabilities, bar by bar, to the label that is shown, by one of eight rules.

Causal ones (`raw`, `hysteresis`, `markov`, `duration`) say at each close what is decided for good; `fixed_lag` (with the belief of
`duration`; exact where no segment is shorter than the lag) and `markov_lag` (with that of `markov`) say it ``lag`` bars later;
`viterbi` and `semi_markov` read the whole stretch and belong to hindsight. `markov` and `duration` are filters whose belief then passes
through hysteresis, so that one rule decides when a regime changes, in history and live (`hysteresis`, `statechart`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.durations import DurationModel
from candelabra.regimes.filters import (
    duration_filter,
    duration_lag,
    duration_run,
    duration_start,
    evidence,
    fixed_lag,
    markov_filter,
    markov_run,
)
from candelabra.regimes.hysteresis import HysteresisSettings, HysteresisState, hysteresis, hysteresis_run
from candelabra.regimes.paths import semi_markov_path, viterbi_path
from candelabra.regimes.segmentation import UNLABELLED

__all__ = ["CAUSAL_KINDS", "KINDS", "LATE_KINDS", "Decoder", "DecoderKind", "DecoderSettings", "DecoderStream"]

DecoderKind = Literal["raw", "hysteresis", "markov", "duration", "fixed_lag", "markov_lag", "viterbi", "semi_markov"]
KINDS: Final[tuple[DecoderKind, ...]] = get_args(DecoderKind)
CAUSAL_KINDS: Final[tuple[DecoderKind, ...]] = ("raw", "hysteresis", "markov", "duration")
"""Whose label of a bar is said at its close and never taken back."""
LATE_KINDS: Final[tuple[DecoderKind, ...]] = ("fixed_lag", "markov_lag")
"""Whose label of a bar is said a number of bars after its close, and never taken back from then on."""

_LATE_POWER: Final = 0.35
"""Weight of a bar's evidence where the decoder at the close has no filter: a classifier that looks back has said most of it before."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DecoderSettings:
    """Which rule, and its numbers.

    ``tilt`` in [0, 1]: chances are divided by the labels' shares to this power first, so that rare labels are shown more (Menon et al.
    2021); ``power``: weight of a bar's evidence in (0, 1] (see `filters`); ``enter``, ``confirm``, ``min_hold``: of `hysteresis`, which
    `raw`, the late kinds and the paths do not use; ``lag``: bars that `fixed_lag` and `markov_lag` wait.
    """

    kind: DecoderKind = "hysteresis"
    tilt: float = 0.0
    power: float = 1.0
    enter: float = 0.0
    confirm: int = 1
    min_hold: int = 0
    lag: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"there is no decoder {self.kind!r}: choose one of {', '.join(KINDS)}")
        if not 0 < self.power <= 1:
            raise UsageError(f"power = {self.power}: the weight of a bar's evidence lies above 0 and at most at 1")
        if not 0 <= self.tilt <= 1:
            raise UsageError(f"tilt = {self.tilt}: the power that shares are taken to lies in [0, 1]")
        if self.lag < 0 or (self.lag > 0) != (self.kind in LATE_KINDS):
            raise UsageError(
                f"lag = {self.lag} with the decoder {self.kind}: fixed_lag and markov_lag need 1 or more bars, the others none"
            )
        self.rule.thresholds(2)

    @property
    def rule(self) -> HysteresisSettings:
        """The hysteresis behind the filters."""
        return HysteresisSettings(self.enter, self.confirm, self.min_hold)


@dataclass(frozen=True, eq=False)
class Decoder:
    """A decoder of one timeframe: its settings, its labels and how long they last in training."""

    settings: DecoderSettings
    labels: tuple[str, ...]
    durations: DurationModel

    def __post_init__(self) -> None:
        if len(self.durations) != len(self.labels):
            raise DataError(f"durations of {len(self.durations)} labels cannot decode {len(self.labels)}: count them from the same labels")

    @property
    def causal(self) -> bool:
        """Whether the label of a bar is said at its close and never taken back."""
        return self.settings.kind in CAUSAL_KINDS

    def beliefs(self, probabilities: ArrayLike) -> Array:
        """What is believed of each bar ``(n, K)``, before anything is decided: ``probabilities`` after the filter.

        Rows of the late kinds speak of their own bar, ``lag`` bars later (the last ``lag`` rows are NaN); `raw`, `hysteresis` and paths
        leave the probabilities as they are.
        """
        return self._beliefs(self.tilted(probabilities))

    def _beliefs(self, p: Array) -> Array:
        s, d = self.settings, self.durations
        if s.kind == "markov":
            return markov_filter(evidence(p, d.share, s.power), d.share, d.transition())
        if s.kind == "duration":
            return duration_filter(evidence(p, d.share, s.power), d.share, d.follows, d.survival(d.longest))
        if s.kind in LATE_KINDS:
            heard = evidence(p, d.share, s.power)
            if s.kind == "markov_lag":
                late = fixed_lag(heard, d.share, d.transition(), s.lag)
            else:
                late = duration_lag(heard, d.share, d.follows, d.survival(d.longest), s.lag)
            return np.concatenate([late[s.lag :], np.full((min(s.lag, len(late)), len(d)), np.nan)])
        return p

    def decode(self, probabilities: ArrayLike) -> NDArray[np.int16]:
        """The label shown for each bar ``(n,)``, `UNLABELLED` where none can be."""
        p, s, d = self.tilted(probabilities), self.settings, self.durations
        if s.kind in ("viterbi", "semi_markov"):
            heard = evidence(p, d.share, s.power)
            if s.kind == "viterbi":
                return viterbi_path(heard, d.share, d.transition())
            most = d.longest
            live = np.log(np.maximum(d.survival(most)[:, :most], 1e-300))
            return semi_markov_path(heard, d.share, d.follows, d.log_mass(most), live)
        believed = self._beliefs(p)
        if s.kind == "raw" or s.kind in LATE_KINDS:
            return _likeliest(believed)
        return hysteresis(believed, s.rule)

    def late(self, lag: int) -> Decoder:
        """The decoder that says the label of each bar ``lag`` bars later, from the same evidence; UsageError for one that is not causal.

        After `duration` by durations, after the others by their Markov chain; what is left of flips is not held back by hysteresis.
        """
        s = self.settings
        if not self.causal:
            raise UsageError(f"the decoder {s.kind} looks further ahead than any lag: take a filtered one")
        kind: DecoderKind = "fixed_lag" if s.kind == "duration" else "markov_lag"
        power = s.power if s.kind in ("duration", "markov") else _LATE_POWER
        return replace(self, settings=DecoderSettings(kind, tilt=s.tilt, power=power, lag=lag))

    def at_close(self) -> Decoder:
        """The filter of a late decoder, which says at each close what it believes so far; any other decoder itself."""
        s = self.settings
        if s.kind not in LATE_KINDS:
            return self
        return replace(self, settings=replace(s, kind="duration" if s.kind == "fixed_lag" else "markov", lag=0))

    def stream(self) -> DecoderStream:
        """The same bar by bar, to the bit; UsageError for a decoder that is not causal."""
        if not self.causal:
            raise UsageError(f"the decoder {self.settings.kind} decides a bar after later ones: it cannot run candle by candle")
        return DecoderStream(self)

    def expected_remaining(self, label: int, age: int) -> float:
        """Further bars that a segment of ``label`` lasts on average when it has lasted ``age`` bars (at least 1)."""
        most = max(age, self.durations.longest)
        return float(self.durations.remaining(most)[label, age - 1])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"settings": asdict(self.settings), "labels": list(self.labels), "durations": self.durations.to_dict()}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Decoder:
        """What `to_dict` wrote; BundleError when it is not that."""
        try:
            return cls(DecoderSettings(**content["settings"]), tuple(content["labels"]), DurationModel.from_dict(content["durations"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"this is not a decoder ({error!r}): the bundle is damaged, seal it again") from error

    def tilted(self, probabilities: ArrayLike) -> Array:
        """Checked probabilities ``(n, K)``, with rare labels weighed up by ``tilt``; DataError for another shape."""
        p = np.asarray(probabilities, np.float64)
        if p.ndim != 2 or p.shape[1] != len(self.labels):
            raise DataError(f"probabilities of shape {p.shape} cannot be decoded into {len(self.labels)} labels: give one column a label")
        if self.settings.tilt:
            p = p / np.maximum(self.durations.share, 1e-6) ** self.settings.tilt
            p = p / p.sum(axis=1, keepdims=True)
        return p


class DecoderStream:
    """A causal decoder between two bars: what it believes and the regime it holds."""

    def __init__(self, decoder: Decoder) -> None:
        s, d = decoder.settings, decoder.durations
        self._decoder, self._rule, self._seen = decoder, s.rule, 0
        self._chain = d.transition()
        self._belief = d.share.copy()
        self._ages = duration_start(d.share, d.survival(d.longest)) if s.kind == "duration" else None
        self.state = HysteresisState()

    def push(self, probabilities: ArrayLike) -> tuple[int, Array]:
        """Hear one bar's probabilities ``(K,)``: the label shown now and what is believed of each."""
        codes, believed = self.run(np.asarray(probabilities, np.float64)[None])
        return int(codes[0]), believed[0]

    def run(self, probabilities: ArrayLike) -> tuple[NDArray[np.int16], Array]:
        """Hear the next bars' probabilities ``(n, K)``: the label shown at each ``(n,)`` and what was believed ``(n, K)``."""
        s, d = self._decoder.settings, self._decoder.durations
        p = said = self._decoder.tilted(np.asarray(probabilities, np.float64))
        if s.kind == "markov":
            said = markov_run(evidence(p, d.share, s.power), self._belief, self._chain, self._seen == 0)
        elif self._ages is not None:
            said = np.empty_like(p)
            duration_run(evidence(p, d.share, s.power), *self._ages, d.follows, said, np.empty_like(p))
        self._seen += len(p)
        if s.kind == "raw":
            return _likeliest(said), said
        run = hysteresis_run(said, self._rule, self.state)
        self.state = run.end
        return run.code, said

    def memory(self) -> dict[str, Array]:
        """All that the next bar needs to know, as arrays by name."""
        held = self.state
        kept = {"seen": np.array([self._seen], np.float64), "belief": self._belief.copy()}
        kept["held"] = np.array([held.state, held.age, held.candidate, held.count], np.float64)
        ages = zip(("ages", "factor", "place"), self._ages or (), strict=False)
        return kept | {name: part.copy() for name, part in ages}

    def resume(self, memory: Mapping[str, Array]) -> None:
        """Stand where the same decoder's `memory` was taken; DataError when it is none."""
        try:
            self._seen, self._belief[:] = int(memory["seen"][0]), memory["belief"]
            for place, name in zip((self._ages or ())[:3], ("ages", "factor", "place"), strict=False):
                place[:] = memory[name]
            self.state = HysteresisState(*(int(v) for v in memory["held"])).check(len(self._belief))
        except (KeyError, ValueError, TypeError, UsageError) as error:
            raise DataError(f"this is no memory of this decoder ({error!r}): begin anew from the history") from error


def _likeliest(p: Array) -> NDArray[np.int16]:
    known: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    return np.where(known, np.argmax(np.where(known[:, None], p, 0.0), axis=1), UNLABELLED).astype(np.int16)
