"""Regime items about anomalies: planted ones found, at a stated rate of false alarms, beside a rolling z-score and an isolation forest.

``python -m bench.anomalies [simulated | BTC | ETH | ...]`` prints the whole table. Laws are fitted on the first 60 % of a series as it is,
thresholds on the next 20 %, events planted in the last 20 %: one about every 1,000 bars, in twelve plantings with seeds of their own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.item import Absent, Goal, Item, Reading, Tool, Values
from candelabra.candles.frame import Candles
from candelabra.metrics.detection import Detection, auc, detection
from candelabra.regimes.anomaly_alarms import FOLLOW, calibrate
from candelabra.testing.anomalies import KINDS, Planted, plant

RATE = 2.0
_EVERY, _ECHO = 1_000, 24
_MARKETS, _BARS = range(400, 410), 20_000
_FEATURES = (
    "return(1)", "return(6)", "scaled_return(1)", "range", "rel_log_parkinson(1)", "body", "upper_wick", "lower_wick",
    "rel_volume(24)", "rel_volume_median(168)",
)  # fmt: skip
_REACH = {"pump": 0.90, "flash crash": 0.95, "fat finger": 0.95, "stuck feed": 0.95}

Scorer = Callable[[Candles], Any]


@dataclass(frozen=True)
class Found:
    """Figures of one tool on one series: area and detection by kind, alarms on the clean test range, the promise about them."""

    area: dict[str, float]
    caught: dict[str, Detection]
    precision: float
    alarms: dict[str, int]
    promised: tuple[int, int]
    bars: int
    memory: int = 0


def ours(train: Candles) -> tuple[Scorer, int]:
    """Laws of candelabra."""
    from candelabra.regimes.anomalies import fit_anomalies

    model = fit_anomalies(train)
    return lambda candles: model.score(candles).combined, model.memory


def z_score(train: Candles) -> tuple[Scorer, int]:
    """Size of the return in standard deviations of the 168 returns before it, less their mean."""
    from candelabra.features.kernels import window_sum, window_variance

    def score(candles: Candles) -> Any:
        move = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
        mean, sd = window_sum(move, 168) / 168, np.sqrt(window_variance(move, 168))
        out = np.full(len(move), np.nan)
        out[168:] = np.abs(move[168:] - mean[167:-1]) / np.maximum(sd[167:-1], 1e-12)
        return out

    return score, 200


def forest(train: Candles) -> tuple[Scorer, int]:
    """scikit-learn's IsolationForest (200 trees) on ten features that do not depend on the level of prices."""
    from sklearn.ensemble import IsolationForest

    from candelabra.features.catalog import compute, warm_up

    def table(candles: Candles) -> Any:
        return compute(candles, _FEATURES).values

    rows = table(train)
    model = IsolationForest(n_estimators=200, random_state=0, n_jobs=1).fit(rows[np.isfinite(rows).all(1)])

    def score(candles: Candles) -> Any:
        rows = table(candles)
        known = np.isfinite(rows).all(1)
        out = np.full(len(rows), np.nan)
        out[known] = -model.score_samples(rows[known])
        return out

    return score, warm_up(_FEATURES, train.timeframe)


TOOLS = {"candelabra": ours, "rolling z-score": z_score, "isolation forest": forest}


def contest(make: Callable[[Candles], tuple[Scorer, int]], candles: Candles, plantings: int = 12, size: float = 1.0) -> Found:
    """One tool on one series."""
    n = len(candles)
    train, test = int(0.6 * n), int(0.8 * n)
    score, memory = make(candles.rows(slice(0, train)))
    before = max(0, test - max(memory, 168) - _ECHO)
    clean = score(candles)
    fixed, follows = (calibrate(clean[train:test], RATE, step=step) for step in (0.0, FOLLOW))
    counts = {
        "fixed": int(fixed.flag(clean[test:]).alarm.sum()),
        "following": int(follows.flag(clean[train:]).alarm[test - train :].sum()),
    }
    part = candles.rows(slice(before, n))
    seen: list[tuple[Planted, Any, Any]] = []
    for seed in range(plantings):
        turned = KINDS[seed % len(KINDS) :] + KINDS[: seed % len(KINDS)]
        planted = plant(part, turned, every=_EVERY, size=size, since=test - before, seed=seed)
        values = score(planted.candles)
        seen.append((planted, values, follows.flag(values[test - before :], follows.value).alarm))
    rows = np.arange(len(part)) >= test - before
    negative = np.concatenate([rows & ~p.mask() & ~p.echo(_ECHO) for p, _, _ in seen])
    values = np.concatenate([v for _, v, _ in seen])
    alarm = np.concatenate([np.concatenate([np.zeros(test - before, np.bool_), a]) for _, _, a in seen])
    shift = np.arange(len(seen)) * len(part)
    kinds = np.concatenate([np.array(p.kinds) for p, _, _ in seen])
    first, stop = (np.concatenate([getattr(p, f) + s for (p, _, _), s in zip(seen, shift, strict=True)]) for f in ("first", "stop"))
    area, caught = {}, {}
    for kind in KINDS:
        if (kinds == kind).any():
            area[kind] = auc(values, np.concatenate([p.mask(kind) for p, _, _ in seen]), negative)
            caught[kind] = detection(alarm, first[kinds == kind], stop[kinds == kind], negative)
    whole = detection(alarm, first, stop, negative)
    return Found(area, caught, whole.precision, counts, fixed.interval(n - test), n - test, memory)


def simulated(small: bool) -> list[Candles]:
    """Ten markets no setting was chosen on."""
    from candelabra.candles.simulate import simulate

    return [simulate(bars=_BARS, seed=seed).candles for seed in (_MARKETS[:2] if small else _MARKETS)]


def real(symbol: str, small: bool) -> list[Candles]:
    """Hours of one symbol; Absent when they are not here."""
    from bench.quality import _hours

    return [_hours(symbol, 12_000 if small else 0)]


def _mean(found: Sequence[Found], kind: str) -> float:
    return float(np.mean([f.area[kind] for f in found if kind in f.area]))


def _mean_known(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def _pooled(found: Sequence[Found], kind: str) -> tuple[int, float, float]:
    """Events, share caught and mean over series of the median delay."""
    each = [f.caught[kind] for f in found if kind in f.caught]
    events = sum(d.events for d in each)
    return events, sum(d.caught * d.events for d in each) / events, _mean_known([d.delay for d in each])


def _run(name: str, ground: Callable[[bool], list[Candles]], small: bool) -> dict[str, Reading]:
    found = [contest(TOOLS[name], candles, 2 if small else 12) for candles in ground(small)]
    readings = {}
    for kind in KINDS:
        events, caught, delay = _pooled(found, kind)
        readings[kind] = Reading(_mean(found, kind), "AUC", note=f"{events} events, {caught:.0%} caught, {delay:.1f} bars late")
    readings["precision"] = Reading(float(np.mean([f.precision for f in found])), "share", note="of alarms at events or on clean bars")
    for way in ("fixed", "following"):
        held = [f.promised[0] <= f.alarms[way] <= f.promised[1] for f in found]
        rate = 1000 * sum(f.alarms[way] for f in found) / sum(f.bars for f in found)
        note = f"{rate:.2f} alarms per 1,000 clean bars, {RATE:g} stated; {sum(held)} of {len(held)} within the interval"
        readings[f"{way} threshold"] = Reading(float(np.mean(held)), "share held", note=note)
    return readings


def _above(kind: str) -> Callable[[Values], float]:
    return lambda v: v["candelabra"][kind] - max(v[rival][kind] for rival in TOOLS if rival != "candelabra")


def _item(name: str, about: str, ground: Callable[[bool], list[Candles]], held: float) -> Item:
    goals = [Goal("candelabra", kind, partial(lambda v, k: v["candelabra"][k], k=kind), f">= {least:g}") for kind, least in _REACH.items()]
    goals += [Goal("isolation forest", kind, _above(kind), ">= 0") for kind in _REACH]
    for way in ("fixed", "following"):
        goals.append(Goal("candelabra", f"{way} threshold", partial(lambda v, w: v["candelabra"][f"{w} threshold"], w=way), f">= {held:g}"))
    tools = {tool: Tool(partial(_run, tool, ground), ("sklearn",) if tool == "isolation forest" else ()) for tool in TOOLS}
    return Item(name, about, tools, tuple(goals), rounds=1)


ITEMS = (
    _item("regimes/anomalies", "planted anomalies on ten simulated markets: AUC by kind, and false alarms as promised", simulated, 0.8),
    _item("regimes/anomalies-real", "the same on hourly BTC", partial(real, "BTC"), 1.0),
)


def main(words: Sequence[str]) -> int:
    """Print the table of some grounds."""
    for word in words or ("simulated", "BTC"):
        try:
            series = simulated(False) if word == "simulated" else real(word, False)
        except Absent as missing:
            print(missing, file=sys.stderr)
            return 3
        print(f"\n{word}: {len(series)} series, {sum(map(len, series)):,} bars")
        for name, make in TOOLS.items():
            found = [contest(make, candles) for candles in series]
            print(f"\n| {name} | AUC | events | caught | delay |\n|---|---|---|---|---|")
            for kind in KINDS:
                events, caught, delay = _pooled(found, kind)
                print(f"| {kind} | {_mean(found, kind):.3f} | {events} | {caught:.2f} | {delay:.1f} |")
            alarms = {way: [f.alarms[way] for f in found] for way in ("fixed", "following")}
            print(f"precision {np.mean([f.precision for f in found]):.2f}; alarms on clean test bars {alarms}")
            print(f"promised {[f.promised for f in found]} in {[f.bars for f in found]}; memory {found[0].memory} bars", flush=True)
        for size in (0.5, 2.0):
            found = [contest(ours, candles, size=size) for candles in series]
            areas = ", ".join(f"{kind} {_mean(found, kind):.3f}" for kind in KINDS[:3])
            print(f"candelabra, moves {size:g} times as large: {areas}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
