"""Rules: from forecasts to a position decided at each close. Plain arithmetic on what was known then; no fill, no cost is paid here.

A rule says its *plan* (a score, when to enter and to leave, how large), and one compiled state machine follows it, so that every rule is
causal by construction, and a sweep runs the machine that the backtest ran.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal, Protocol, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.hindsight import refuse_hindsight
from candelabra.errors import UsageError
from candelabra.registry import Entry, Registry, did_you_mean
from candelabra.trading.forecasts import Forecasts

__all__ = [
    "RULES",
    "Band",
    "BuyAndHold",
    "Flat",
    "Plan",
    "Rule",
    "Side",
    "Threshold",
    "VolatilityTarget",
    "follow",
    "follow_on",
    "new_rule",
    "next_position",
    "positions",
]

Floats = NDArray[np.float64]
Side: TypeAlias = Literal["long", "short", "both"]
SIDES: Final[Mapping[str, tuple[bool, bool]]] = {"long": (True, False), "short": (False, True), "both": (True, True)}
SIGNALS: Final = ("mean", "median", "ratio")
_STRETCH: Final = 64


@dataclass(frozen=True, eq=False)
class Plan:
    """A rule applied to forecasts: ``score`` and ``size`` float64 ``(bars,)``; NaN in either means flat.

    Long from ``score > enter`` until ``score <= leave``, short from ``score < -enter`` until ``score >= -leave``, as far as
    ``side`` allows; the position is ``size``, at most 1, and moved only when it is off by more than ``tolerance`` of itself.
    """

    score: Floats
    size: Floats
    enter: float = 0.0
    leave: float = 0.0
    side: Side = "long"
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise UsageError(f"unknown side {self.side!r}: {did_you_mean(self.side, tuple(SIDES))}")
        if not self.leave <= self.enter:
            raise UsageError(f"a rule that enters above {self.enter:g} cannot leave below {self.leave:g}: leave must not be above enter")
        if self.side != "long" and self.enter < 0.0:
            raise UsageError(f"enter = {self.enter:g} would hold both sides at once: 0 or more is needed for a rule that goes short")
        if self.tolerance < 0.0:
            raise UsageError(f"tolerance = {self.tolerance:g}: 0 or more is needed")


class Rule(Protocol):
    """A way to trade: settings in a frozen dataclass, and a plan for any forecasts."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        """The plan at every bar of ``seen``; ``cost``: what an order costs, as a share of its value. Reads no bar after each."""
        ...


def _signal(seen: Forecasts, horizon: str, signal: str) -> Floats:
    if signal not in SIGNALS:
        raise UsageError(f"unknown signal {signal!r}: {did_you_mean(signal, SIGNALS)}")
    h = seen.horizon(horizon)
    if signal == "median":
        return seen.median(h)
    if signal == "mean":
        return seen.mean[:, h]
    return seen.mean[:, h] / seen.volatility[:, h]


@dataclass(frozen=True)
class Threshold:
    """In the market while a forecast says enough: ``signal`` of ``horizon`` above ``enter`` (and, short, below ``-enter``).

    ``signal``: ``mean`` or ``median`` of the log return over the horizon, or ``ratio``: the mean in units of its volatility.
    """

    horizon: str = ""
    signal: str = "mean"
    enter: float = 0.002
    leave: float = 0.0
    side: Side = "long"
    size: float = 1.0
    name: str = "threshold"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        """The signal against fixed thresholds."""
        score = _signal(seen, self.horizon, self.signal)
        return Plan(score, np.full(len(seen), self.size), self.enter, self.leave, self.side)


@dataclass(frozen=True)
class Band:
    """The no-trade band: in only when the expected return pays ``factor`` times the costs of going in and out; out when it turns."""

    horizon: str = ""
    factor: float = 1.0
    side: Side = "long"
    size: float = 1.0
    name: str = "band"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        """The expected return against the costs of a round trip."""
        score = _signal(seen, self.horizon, "mean")
        return Plan(score, np.full(len(seen), self.size), self.factor * 2.0 * cost, 0.0, self.side)


@dataclass(frozen=True)
class VolatilityTarget:
    """As much as keeps the expected volatility of the position at ``annual`` (0.4 = 40 % a year), at most 1: small in storms.

    ``signal`` decides the side: ``none`` is always long; otherwise as in `Threshold`, above ``enter``. The size is moved when it is off by
    more than ``tolerance`` of itself, since every move costs.
    """

    annual: float = 0.4
    horizon: str = ""
    signal: str = "none"
    enter: float = 0.0
    side: Side = "long"
    tolerance: float = 0.25
    name: str = "volatility_target"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        """The target over the forecast volatility, on the side of the signal."""
        if self.annual <= 0.0:
            raise UsageError(f"annual = {self.annual:g}: a volatility above 0 is needed, as in 0.4 for 40 % a year")
        volatility = seen.annual_volatility(seen.horizon(self.horizon))
        size = self.annual / np.where(volatility > 0.0, volatility, np.nan)
        if self.signal == "none":
            return Plan(np.ones(len(seen)), size, 0.0, 0.0, "long", self.tolerance)
        return Plan(_signal(seen, self.horizon, self.signal), size, self.enter, 0.0, self.side, self.tolerance)


@dataclass(frozen=True)
class BuyAndHold:
    """Always long in full: what every other rule is measured against."""

    name: str = "buy_and_hold"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        """A score that never leaves."""
        return Plan(np.ones(len(seen)), np.ones(len(seen)))


@dataclass(frozen=True)
class Flat:
    """Never in the market: what a choice falls back on when nothing on validation earned its costs."""

    name: str = "flat"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        """A score that never enters."""
        return Plan(np.zeros(len(seen)), np.ones(len(seen)))


RULES: Final = Registry("rule")
"""Rules by name; third parties add theirs through the entry-point group ``candelabra.rule`` (settings class and target are one)."""

for _class, _summary in (
    (Threshold, "in while a forecast is above a threshold"),
    (Band, "in when the expected return pays for the round trip"),
    (VolatilityTarget, "as large as keeps the expected volatility level"),
    (BuyAndHold, "always in"),
    (Flat, "never in"),
):
    _path = f"{__name__}:{_class.__name__}"
    RULES.add(Entry(_class.name, _path, _path, _summary))


def new_rule(name: str, settings: Mapping[str, Any] | None = None) -> Rule:
    """A registered rule with settings by name (text is read as the field's type); UsageError for what it does not have.

    >>> new_rule("threshold", {"enter": "0.003", "side": "both"}).enter
    0.003
    """
    kind = RULES.load(name)
    known = {f.name: f for f in fields(kind) if f.name != "name"}
    values: dict[str, Any] = {}
    for key, value in (settings or {}).items():
        if key == "name":
            continue
        if key not in known:
            raise UsageError(f"the rule {name} has no setting {key!r}: {did_you_mean(key, tuple(known))}")
        default = known[key].default
        try:
            values[key] = float(value) if isinstance(default, float) else value
        except (TypeError, ValueError):
            raise UsageError(f"{name}.{key} = {value!r} is not a number: write it as in {key}={default}") from None
    rule: Rule = kind(**values)
    return rule


def told(rule: Rule) -> dict[str, Any]:
    """A rule as plain values, ``name`` first; `new_rule` makes it again.

    >>> told(Band(factor=2.0))
    {'name': 'band', 'horizon': '', 'factor': 2.0, 'side': 'long', 'size': 1.0}
    """
    values: dict[str, Any] = json.loads(json.dumps(asdict(rule)))  # type: ignore[call-overload]
    return {"name": values.pop("name"), **values}


def positions(rule: Rule, seen: Forecasts, cost: float, *, allowed: NDArray[np.bool_] | None = None) -> Floats:
    """The position a rule wants at each close ``(bars,)``, in [-1, 1]; flat where there is no forecast, or a regime is not ``allowed``.

    ``allowed``: bool ``(bars,)``, what a filter knows at each close (filtered regimes, never smoothed ones: UsageError for `Hindsight`).
    """
    refuse_hindsight("a rule", seen, allowed)
    plan = rule.plan(seen, cost)
    for what, values in (("score", plan.score), ("size", plan.size)):
        if np.shape(values) != (len(seen),):
            raise UsageError(f"the rule {rule.name} gave a {what} of shape {np.shape(values)} for {len(seen)} bars: give one a bar")
    mask = np.ones(len(seen), np.bool_) if allowed is None else np.asarray(allowed, np.bool_)
    if mask.shape != (len(seen),):
        raise UsageError(f"the filter has shape {mask.shape} for {len(seen)} bars: give one value a bar")
    out = np.empty(len(seen))
    follow(plan.score, plan.size, mask, plan.enter, plan.leave, *SIDES[plan.side], plan.tolerance, out)
    return out


def next_position(plan: Plan, state: Floats, *, allowed: bool = True) -> float:
    """The position at the newest bar of a plan alone, from where `follow` stood at the bar before; ``state`` ``(2,)`` is moved on."""
    out, mask = np.empty(1), np.array([allowed])
    follow_on(plan.score[-1:], plan.size[-1:], mask, plan.enter, plan.leave, *SIDES[plan.side], plan.tolerance, out, state)
    return float(out[0])


@njit(cache=True)
def follow_on(
    score: Floats, size: Floats, allowed: NDArray[np.bool_], enter: float, leave: float, long: bool, short: bool, tolerance: float,
    out: Floats, state: Floats,
) -> None:  # fmt: skip
    """`follow` from where ``state`` ``(2,)`` says it stood, its side and its position; moved on in place.

    Stretches in which nothing can change are recognised at once (the compiler makes vector instructions of them); NaN compares false.
    """
    bars = len(score)
    up, down = enter if long else np.inf, -enter if short else -np.inf
    side, held, t = state[0], state[1], 0
    while t < bars:
        far = min(t + _STRETCH, bars)
        part, odd = score[t:far], 0
        if side == 0.0:
            for k in range(part.size):
                odd += (part[k] > up) | (part[k] < down)
        else:
            stays, large = max(leave, -enter if long and short else leave), size[t]
            odd += not abs(side * min(max(large, 0.0), 1.0) - held) <= tolerance * abs(held)
            sizes, open_ = size[t:far], allowed[t:far]
            for k in range(part.size):
                odd += 1 - ((side * part[k] > stays) & (sizes[k] == large) & open_[k])
        if odd == 0:
            out[t:far] = held
            t = far
            continue
        while t < far:
            x, large = score[t], size[t]
            if side != 0.0 and not side * x > leave:
                side = 0.0
            if not allowed[t] or x != x or large != large:
                side = 0.0
            elif side <= 0.0 and x > up:
                side, held = 1.0, 0.0
            elif side >= 0.0 and x < down:
                side, held = -1.0, 0.0
            if side == 0.0:
                held = 0.0
            else:
                wanted = side * min(max(large, 0.0), 1.0)
                if abs(wanted - held) > tolerance * abs(held):
                    held = wanted
            out[t] = held
            t += 1
    state[0], state[1] = side, held


@njit(cache=True)
def follow(
    score: Floats, size: Floats, allowed: NDArray[np.bool_], enter: float, leave: float, long: bool, short: bool, tolerance: float,
    out: Floats,
) -> None:  # fmt: skip
    """The state machine of a `Plan`, written to ``out`` ``(bars,)``: each value from this bar and the position before it."""
    follow_on(score, size, allowed, enter, leave, long, short, tolerance, out, np.zeros(2))
