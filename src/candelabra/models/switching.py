"""`switching`: what one bar alone says of each regime, by a regime-switching volatility model learned from labels.

Decisions:
- each regime has a mean, a pull back to the running mean of recent prices and a level of volatility; one GARCH(1,1) factor with Student-t
  shocks (Bollerslev 1986, 1987) runs through all of them, in a recursion of its own for each regime (Haas, Mittnik and Paolella 2004), so
  that no path of regimes has to be remembered; where regimes meet, the factors of where a bar may have come from are averaged (Kim 1994);
- with labels the regimes are known in training, so the likelihood is a product over bars and its maximum a matter of seconds; all symbols
  together first, then each by itself, held to the common values by a prior;
- a bar's answer is its likelihood under each regime given all bars before it, as probabilities on top of the labels' shares: a decoder
  (`regimes.decoding`) adds durations and successions, causally, after a lag or over the whole stretch, with a power of 1;
- returns are in units of the symbol's own standard deviation in training, or of its running one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import minimize

from candelabra.candles.frame import Candles
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.durations import DurationModel, fit_durations

__all__ = ["SwitchingModel", "SwitchingParameters", "SwitchingSettings", "SwitchingStream", "fit_switching"]

Array = NDArray[np.float64]
_UNSEEN_HALF_LIFE: Final = 5_000.0
"""Bars over which the size of a symbol that was not trained on is averaged."""
_PRIOR_SD: Final = (0.15, 0.05, 0.05, 0.2)  # of a symbol's log level, drift, pull and dynamics around the common ones
_LIMIT: Final = 12.0  # returns beyond so many standard deviations count as that many


@dataclass(frozen=True)
class SwitchingSettings:
    """``spans``: running means (bars) tried for the pull, the likeliest is kept; ``half_life`` of the running scale in bars, 0: the
    standard deviation of the symbol in training; ``own``: each symbol has parameters of its own; ``iterations`` of each fit.
    """

    spans: tuple[int, ...] = (12, 24, 48, 96)
    half_life: float = 0.0
    own: bool = True
    iterations: int = 60

    def __post_init__(self) -> None:
        if not self.spans or min(self.spans) < 2 or self.half_life < 0 or self.iterations < 1:
            raise UsageError(
                f"spans {self.spans} of at least 2 bars, half_life {self.half_life:g} of at least 0 and {self.iterations} iterations of at "
                "least 1 are needed"
            )


@dataclass(frozen=True, eq=False)
class SwitchingParameters:
    """One symbol's: ``level``, ``drift``, ``pull`` ``(K,)`` in units of its scale; ``shock``, ``persistence``, ``degrees``."""

    level: Array
    drift: Array
    pull: Array
    shock: float
    persistence: float
    degrees: float

    @classmethod
    def of_vector(cls, x: Array) -> SwitchingParameters:
        """From what the optimiser moves: logs of levels, drifts, pulls, and three numbers that are bounded."""
        k = (len(x) - 3) // 3
        shock = 0.3 / (1 + math.exp(-x[-3]))
        persistence = (1 - shock) * (0.3 + 0.695 / (1 + math.exp(-x[-2])))
        return cls(np.exp(x[:k]), x[k : 2 * k].copy(), x[2 * k : 3 * k].copy(), shock, persistence, 2.2 + math.exp(min(x[-1], 5.0)))

    def table(self) -> Array:
        """``(K + 1, 3)``: a row a regime, and the dynamics."""
        return np.vstack([np.column_stack([self.level, self.drift, self.pull]), [self.shock, self.persistence, self.degrees]])


@dataclass(frozen=True, eq=False)
class SwitchingModel:
    """Fitted: ``common`` and each symbol's own parameters, ``scales`` (standard deviation of a bar's return in training) by symbol."""

    causal: ClassVar[bool] = True
    labels: tuple[str, ...]
    settings: SwitchingSettings
    span: int
    common: SwitchingParameters
    own: Mapping[str, SwitchingParameters]
    scales: Mapping[str, float]
    durations: DurationModel

    def probabilities(self, candles: Candles) -> Array:
        """What each bar alone says ``(n, K)``, given all before it."""
        returns, elapsed = _returns(candles)
        out = np.full((len(candles), len(self.labels)), np.nan)
        state = self._start(candles.symbol)
        _hear(returns, elapsed, *state, out)
        return self._told(out)

    def stream(self, symbol: str) -> SwitchingStream:
        """The same candle by candle, to the bit."""
        return SwitchingStream(self, symbol)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {name: _plain(p) for name, p in self.own.items()}
        return {
            "labels": list(self.labels), "settings": asdict(self.settings), "span": self.span, "common": _plain(self.common), "own": plain,
            "scales": dict(self.scales), "durations": self.durations.to_dict(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> SwitchingModel:
        """What `to_dict` wrote; BundleError when it is not that."""
        try:
            settings = SwitchingSettings(**{**content["settings"], "spans": tuple(content["settings"]["spans"])})
            own = {name: _parameters(p) for name, p in content["own"].items()}
            scales = {name: float(v) for name, v in content["scales"].items()}
            durations = DurationModel.from_dict(content["durations"])
            return cls(tuple(content["labels"]), settings, int(content["span"]), _parameters(content["common"]), own, scales, durations)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"this is not a switching model ({error!r}): the bundle is damaged, seal it again") from error

    def _start(self, symbol: str) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Table, chain, numbers that stay, and the state before the first bar: running sums, belief and factors."""
        k = len(self.labels)
        fixed = 0.0 if self.settings.half_life > 0 else self.scales.get(symbol, 0.0)
        half_life = self.settings.half_life or _UNSEEN_HALF_LIFE
        usual = float(np.median(list(self.scales.values())))
        constants = np.array([fixed, 0.5 ** (1 / half_life), 1 - 2 / (self.span + 1), usual])
        # until a symbol has spoken for itself it is taken for a usual one, with the weight of a hundred bars
        running = np.array([100 * usual**2, 100.0, 0.0])
        table = self.own.get(symbol, self.common).table()
        return table, self.durations.transition(), constants, running, self.durations.share.copy(), np.ones(k)

    def _told(self, log_likelihood: Array) -> Array:
        told = log_likelihood + np.log(np.maximum(self.durations.share, 1e-12))
        told = np.exp(told - told.max(axis=1, keepdims=True))
        return np.asarray(told / told.sum(axis=1, keepdims=True))


class SwitchingStream:
    """A switching model between two candles of one symbol."""

    def __init__(self, model: SwitchingModel, symbol: str) -> None:
        self._model, self._state = model, model._start(symbol)
        self._last: tuple[int, float] | None = None

    def push(self, candles: Candles) -> Array:
        """Hear the next closed candles: what each says ``(n, K)``; DataError unless they come after those before."""
        out = np.full((len(candles), len(self._model.labels)), np.nan)
        if not len(candles):
            return out
        returns, elapsed = _returns(candles)
        if self._last is not None:
            bar, close = self._last
            steps = int(candles.bar[0]) - bar
            if steps < 1:
                raise DataError(
                    f"{candles.symbol}: a stream was given a candle that does not come after the last: give each once, in order"
                )
            returns[0], elapsed[0] = np.log(candles.close[0]) - np.log(close), steps
        _hear(returns, elapsed, *self._state, out)
        self._last = int(candles.bar[-1]), float(candles.close[-1])
        return self._model._told(out)

    def state(self) -> dict[str, Array]:
        """All that the next candle needs to know, as arrays by name."""
        running, belief, factor = (part.copy() for part in self._state[3:])
        return {"running": running, "belief": belief, "factor": factor, "last": np.array(self._last or (), np.float64)}

    def resume(self, state: Mapping[str, Array]) -> None:
        """Stand where the same model's `state` was taken, of the same symbol; DataError when it is none."""
        try:
            for place, name in zip(self._state[3:], ("running", "belief", "factor"), strict=True):
                place[:] = state[name]
            self._last = (int(state["last"][0]), float(state["last"][1])) if len(state["last"]) else None
        except (KeyError, ValueError, IndexError) as error:
            raise DataError(f"this is no state of this switching model ({error!r}): begin anew from the history") from error


def fit_switching(
    candles: Sequence[Candles], codes: Sequence[NDArray[np.int16]], labels: Sequence[str], settings: SwitchingSettings | None = None
) -> SwitchingModel:
    """Learn from candles that end with the learning range and the codes of their bars (below 0: unlabelled).

    DataError where a label never occurs, or where codes do not fit.
    """
    chosen, k = settings or SwitchingSettings(), len(labels)
    own_codes = [np.asarray(c, np.int16) for c in codes]
    for one, code in zip(candles, own_codes, strict=True):
        if code.shape != (len(one),):
            raise DataError(f"{one.symbol} {one.timeframe}: {code.shape} labels for {len(one)} bars: give one a bar")
    seen = np.bincount(np.concatenate([c[c >= 0] for c in own_codes]).astype(np.int64), minlength=k)
    if len(seen) > k or (seen < 2).any():
        absent = ", ".join(n for n, count in zip(labels, seen, strict=False) if count < 2)
        raise DataError(f"a switching model needs bars of every label, and the learning range has none of {absent or 'the vocabulary'}")
    durations = fit_durations(own_codes, k)
    read = [_returns(c) for c in candles]
    scales = {c.symbol: max(float(np.sqrt(np.mean((r[1:] ** 2) / e[1:]))), 1e-9) for c, (r, e) in zip(candles, read, strict=True)}
    half_life = chosen.half_life
    z = [_scaled(r, e, scales[c.symbol], 0.5 ** (1 / half_life) if half_life else 0.0) for c, (r, e) in zip(candles, read, strict=True)]
    begin = np.concatenate([_first_levels(z, own_codes, k), np.zeros(2 * k), [-1.0, 1.0, 1.0]])
    tried, x = [], begin
    for span in chosen.spans:  # each begins where the one before ended: they differ in the pulls alone
        far = [_distance(v, 1 - 2 / (span + 1)) for v in z]
        x, loss = _maximise(x, z, far, own_codes, chosen.iterations if span == chosen.spans[0] else max(1, chosen.iterations // 3))
        tried.append((loss, span, x))
    _, span, x = min(tried, key=lambda one: one[0])
    far = [_distance(v, 1 - 2 / (span + 1)) for v in z]
    own = {}
    if chosen.own and len(candles) > 1:
        for i, one in enumerate(candles):
            mine, _ = _maximise(x, z[i : i + 1], far[i : i + 1], own_codes[i : i + 1], chosen.iterations, around=x)
            own[one.symbol] = SwitchingParameters.of_vector(mine)
    return SwitchingModel(tuple(labels), chosen, span, SwitchingParameters.of_vector(x), own, scales, durations)


def _maximise(
    begin: Array, z: list[Array], far: list[Array], codes: list[NDArray[np.int16]], iterations: int, around: Array | None = None
) -> tuple[Array, float]:
    """The likeliest vector from ``begin``, and its loss a bar; ``around``: the centre of a prior."""
    k = (len(begin) - 3) // 3
    width = np.concatenate([np.full(k, _PRIOR_SD[0]), np.full(k, _PRIOR_SD[1]), np.full(k, _PRIOR_SD[2]), np.full(3, _PRIOR_SD[3])])

    def loss(x: Array) -> float:
        p = SwitchingParameters.of_vector(x)
        constant = math.lgamma((p.degrees + 1) / 2) - math.lgamma(p.degrees / 2) - 0.5 * math.log((p.degrees - 2) * math.pi)
        total, bars = 0.0, 0
        for values, distance, code in zip(z, far, codes, strict=True):
            part, count = _label_loss(values, distance, code, p.table(), constant)
            total, bars = total + part, bars + count
        prior = 0.0 if around is None else 0.5 * float(np.sum(((x - around) / width) ** 2))
        return (total + prior) / max(bars, 1)

    found = minimize(loss, begin, method="L-BFGS-B", options={"maxiter": iterations})
    return np.asarray(found.x, np.float64), float(found.fun)


def _first_levels(z: list[Array], codes: list[NDArray[np.int16]], labels: int) -> Array:
    """Log standard deviation of the bars of each label."""
    values, code = np.concatenate(z), np.concatenate(codes)
    return np.array([0.5 * math.log(max(float(np.mean(values[code == k] ** 2)), 1e-6)) for k in range(labels)])


def _returns(candles: Candles) -> tuple[Array, Array]:
    """Log returns ``(n,)`` from close to close, 0 for the first, and the bars they took."""
    close = np.log(candles.close)
    returns = np.diff(close, prepend=close[:1])
    return returns, np.diff(candles.bar, prepend=candles.bar[:1] - 1).astype(np.float64)


def _plain(p: SwitchingParameters) -> dict[str, Any]:
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(p).items()}


def _parameters(content: Mapping[str, Any]) -> SwitchingParameters:
    level, drift, pull = (np.asarray(content[name], np.float64) for name in ("level", "drift", "pull"))
    return SwitchingParameters(level, drift, pull, *(float(content[name]) for name in ("shock", "persistence", "degrees")))


@njit(cache=True)
def _scaled(returns: Array, elapsed: Array, fixed: float, decay: float) -> Array:
    """Returns of one bar in units of ``fixed``, or of the running standard deviation of what came before (``decay`` above 0)."""
    out = np.empty_like(returns)
    total, weight = 100 * fixed * fixed, 100.0
    for t in range(len(returns)):
        size = returns[t] * returns[t] / elapsed[t]
        scale = np.sqrt(total / weight) if decay > 0 else fixed
        out[t] = min(max(returns[t] / np.sqrt(elapsed[t]) / scale, -_LIMIT), _LIMIT)
        total, weight = decay * total + size, decay * weight + 1.0
    return out


@njit(cache=True)
def _distance(z: Array, keep: float) -> Array:
    """How far the price stood above its running mean before each bar, in the units of ``z``."""
    out = np.empty_like(z)
    distance = 0.0
    for t in range(len(z)):
        out[t] = distance
        distance = keep * (distance + z[t])
    return out


@njit(cache=True)
def _label_loss(z: Array, distance: Array, code: NDArray[np.int16], table: Array, constant: float) -> tuple[float, int]:
    """Minus the log likelihood of the labelled bars, and their number."""
    shock, persistence, degrees = table[-1, 0], table[-1, 1], table[-1, 2]
    rest = 1.0 - shock - persistence
    factor, total, bars = 1.0, 0.0, 0
    for t in range(1, len(z)):
        k = code[t]
        if k < 0:  # nobody knows which regime the bar was of: the factor goes back towards 1
            factor = rest + (shock + persistence) * factor
            continue
        level = table[k, 0]
        move = z[t] - table[k, 1] + table[k, 2] * distance[t]
        square = move * move / (level * level * factor)
        total += 0.5 * (degrees + 1.0) * np.log1p(square / (degrees - 2.0)) + np.log(level) + 0.5 * np.log(factor) - constant
        bars += 1
        factor = rest + shock * move * move / (level * level) + persistence * factor
    return total, bars


@njit(cache=True)
def _hear(
    returns: Array,
    elapsed: Array,
    table: Array,
    chain: Array,
    constants: Array,
    running: Array,
    belief: Array,
    factor: Array,
    out: Array,
) -> None:
    """Log likelihoods ``out`` ``(n, K)`` of bars under each regime; ``running``, ``belief`` and ``factor`` go on from where they were.

    ``running``: sum and weight of squared returns, distance from the running mean. A bar of return 0 that took one bar and is the first of
    all is heard like any other, but says nothing.
    """
    k = len(belief)
    shock, persistence, degrees = table[k, 0], table[k, 1], table[k, 2]
    rest = 1.0 - shock - persistence
    fixed, decay, keep = constants[0], constants[1], constants[2]
    ahead, mixed = np.empty(k), np.empty(k)
    for t in range(len(returns)):
        scale = fixed if fixed > 0.0 else np.sqrt(running[0] / running[1])
        z = min(max(returns[t] / np.sqrt(elapsed[t]) / scale, -_LIMIT), _LIMIT)
        for j in range(k):
            ahead[j], mixed[j] = 0.0, 0.0
        for i in range(k):
            for j in range(k):
                weight = belief[i] * chain[i, j]
                ahead[j] += weight
                mixed[j] += weight * np.log(factor[i])
        total = 0.0
        for j in range(k):
            factor[j] = np.exp(mixed[j] / max(ahead[j], 1e-300))
            move = z - table[j, 1] + table[j, 2] * running[2]
            square = move * move / (table[j, 0] * table[j, 0])
            value = (
                -0.5 * (degrees + 1.0) * np.log1p(square / (factor[j] * (degrees - 2.0))) - np.log(table[j, 0]) - 0.5 * np.log(factor[j])
            )
            out[t, j] = value
            belief[j] = max(ahead[j], 1e-300) * np.exp(value)
            total += belief[j]
            factor[j] = rest + shock * square + persistence * factor[j]
        for j in range(k):
            belief[j] /= total
        running[0] = decay * running[0] + returns[t] * returns[t] / elapsed[t]
        running[1] = decay * running[1] + 1.0
        running[2] = keep * (running[2] + z)
