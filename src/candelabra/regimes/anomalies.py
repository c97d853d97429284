"""`AnomalyModel`: a causal score of every closed bar, from what was to be expected of it at the close before.

Components (each a surprise, -log10 of how rare that is; see `anomaly_laws`):

- forecast tail: ``return`` (a Student-t law about the causal level, or a bundle's quantiles), ``range``, ``stretch`` (range of 6 bars);
- flow break: ``volume``, ``lost_volume``, ``stretch_volume``, ``busy`` (volume without movement), ``thin`` (movement without volume),
  ``wick`` (far out and back within the bar), ``spike`` (within 4), ``reversal`` (a jump of the bar before, taken back);
- quality: ``stuck`` (bars that repeat the one before), ``no_trade``, ``gap``, ``missing`` (source bars absent inside).

Combined: log10 of the mean of 10 ** surprise (one over the harmonic mean of the probabilities: Wilson 2019), as rare as that was on train.
Components depend on each other, which a product of probabilities (Fisher) would count twice; the harmonic mean bears dependence, and the
law fitted on train takes up what is left of it. It is still a ranking: the promise of a false-alarm rate is `anomaly_alarms.calibrate`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.anomaly_evidence import Evidence, Expectation, evidence_memory, fit_expectation, gather
from candelabra.regimes.anomaly_forecasts import BarForecasts, forecast_sd, quantile_surprise
from candelabra.regimes.anomaly_laws import MOST, RunLaw, StudentLaw, TailLaw, fit_runs, fit_student, fit_tail

__all__ = ["COMPONENTS", "AnomalyModel", "AnomalyScores", "fit_anomalies"]

Array: TypeAlias = NDArray[np.float64]
COMPONENTS: Final = {
    "forecast": ("return", "range", "stretch"),
    "flow": ("volume", "lost_volume", "stretch_volume", "busy", "thin", "wick", "spike", "reversal"),
    "quality": ("stuck", "no_trade", "gap", "missing"),
}
_VERSION: Final = "1"


@dataclass(frozen=True, eq=False)
class AnomalyScores:
    """Surprises of every bar: ``combined`` and ``components`` by name, float64 ``(n,)``, NaN where not yet known; ``evidence`` of them."""

    symbol: str
    timeframe: Timeframe
    open_time: NDArray[np.int64]
    components: dict[str, Array]
    combined: Array
    evidence: Evidence

    def __len__(self) -> int:
        return len(self.combined)

    @property
    def close_time(self) -> NDArray[np.int64]:
        """When each score is known (ms UTC)."""
        return self.timeframe.next(self.open_time)

    def columns(self) -> dict[str, Array]:
        """All columns by name, ``combined`` first."""
        return {"combined": self.combined, **self.components}

    def worst(self, row: int, count: int = 1) -> list[str]:
        """Names of the components that say most at a bar, the loudest first."""
        known = {name: float(column[row]) for name, column in self.components.items() if np.isfinite(column[row])}
        return sorted(known, key=lambda name: -known[name])[:count]


@dataclass(frozen=True, eq=False)
class AnomalyModel:
    """Everything fitted on the train range; plain numbers (`to_dict`), frozen.

    ``student``: of the return over its expected standard deviation; ``tails`` by component; ``line`` (a, b): log volume expected of a log
    range; ``runs`` of ``stuck`` and ``no_trade``; ``shares`` of train bars after a ``gap`` or with ``missing`` source bars.
    """

    symbol: str
    timeframe: Timeframe
    bars: int
    expected: Expectation
    student: StudentLaw
    tails: Mapping[str, TailLaw]
    line: tuple[float, float]
    runs: Mapping[str, RunLaw]
    shares: Mapping[str, float]
    combined: TailLaw

    @property
    def memory(self) -> int:
        """Bars before a bar that its score reads: candle by candle with so many kept gives what the whole history gives."""
        return evidence_memory(self.timeframe)

    def score(self, candles: Candles, forecasts: BarForecasts | None = None) -> AnomalyScores:
        """Scores of closed candles; a row reads nothing after it. UsageError for another timeframe, DataError for forecasts amiss.

        ``forecasts`` (a row for each bar of ``candles``) take the place of the Student-t law where they are known.
        """
        if candles.timeframe != self.timeframe:
            raise UsageError(
                f"these anomaly laws were fitted at {self.timeframe}, the candles are of {candles.timeframe}: what is usual differs by "
                f"timeframe; fit at {candles.timeframe}, or resample"
            )
        quantiles = None if forecasts is None else forecasts.for_each_bar()
        if quantiles is not None and len(quantiles) != len(candles):
            raise DataError(f"{len(quantiles)} forecasts for {len(candles)} bars: give a row a bar, NaN where none was made")
        sd = None
        if quantiles is not None and forecasts is not None:
            sd = forecast_sd(quantiles, forecasts.levels, self.student)
        evidence = gather(candles, self.expected, sd)
        components = self._components(evidence)
        if quantiles is not None and forecasts is not None:
            told = quantile_surprise(quantiles, evidence.returns, forecasts.levels)
            # A forecast of one bar says nothing about a return over several.
            use = np.isfinite(told) & (evidence.elapsed == 1)
            components["return"] = np.where(use, told, components["return"])
        combined = self.combined.surprise(_together(components))
        return AnomalyScores(candles.symbol, candles.timeframe, candles.open_time, components, combined, evidence)

    def _components(self, e: Evidence) -> dict[str, Array]:
        found = {"return": self.student.surprise(e.move)}
        found |= {name: self.tails[name].surprise(values) for name, values in _statistics(e, self.line).items()}
        found |= {"stuck": self.runs["stuck"].surprise(e.repeat_run), "no_trade": self.runs["no_trade"].surprise(e.idle_run)}
        for name, count in (("gap", e.elapsed - 1), ("missing", e.missing)):
            # Twice as long is taken to be half as frequent: there are too few to fit a law.
            rare = np.minimum(-np.log10(self.shares[name]) + np.log10(np.maximum(count, 1.0)), MOST)
            found[name] = np.where(count > 0, rare, 0.0)
        return {name: found[name] for names in COMPONENTS.values() for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; floats survive exactly."""
        return {
            "version": _VERSION,
            "symbol": self.symbol,
            "timeframe": self.timeframe.name,
            "bars": self.bars,
            "expected": self.expected.to_dict(),
            "student": [self.student.degrees, self.student.scale],
            "tails": {name: law.to_dict() for name, law in self.tails.items()},
            "line": list(self.line),
            "runs": {name: [law.share, law.stays] for name, law in self.runs.items()},
            "shares": dict(self.shares),
            "combined": self.combined.to_dict(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> AnomalyModel:
        """What `to_dict` wrote; BundleError for anything else."""
        try:
            if content["version"] != _VERSION:
                raise BundleError(f"anomaly laws of version {content['version']}, this candelabra reads {_VERSION}: fit them again")
            return cls(
                str(content["symbol"]),
                Timeframe(content["timeframe"]),
                int(content["bars"]),
                Expectation.from_dict(content["expected"]),
                StudentLaw(*map(float, content["student"])),
                {str(name): TailLaw.from_dict(law) for name, law in content["tails"].items()},
                (float(content["line"][0]), float(content["line"][1])),
                {str(name): RunLaw(*map(float, law)) for name, law in content["runs"].items()},
                {str(name): float(share) for name, share in content["shares"].items()},
                TailLaw.from_dict(content["combined"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise BundleError(f"not anomaly laws: {error!r}; the file is damaged or from another version, fit them again") from None


def fit_anomalies(candles: Candles) -> AnomalyModel:
    """Laws of what is usual, from the candles of the train range alone; DataError when they are too few to know a tail.

    >>> from candelabra.candles import simulate
    >>> market = simulate(bars=4_000, seed=3).candles
    >>> model = fit_anomalies(market.rows(slice(0, 3_000)))
    >>> model.score(market).combined.shape, model.memory
    ((4000,), 680)
    """
    expected = fit_expectation(candles)
    e = gather(candles, expected)
    where = f"of {candles.symbol} {candles.timeframe}"
    student = fit_student(e.move, f"the return {where}")
    known = np.isfinite(e.span) & np.isfinite(e.volume)
    slope, offset = np.polyfit(e.span[known], e.volume[known], 1)
    line = (float(offset), float(slope))
    tails = {name: fit_tail(values, f"{name} {where}") for name, values in _statistics(e, line).items()}
    n = len(candles)
    model = AnomalyModel(
        candles.symbol,
        candles.timeframe,
        n,
        expected,
        student,
        tails,
        line,
        {"stuck": fit_runs(e.repeat_run > 0), "no_trade": fit_runs(e.idle_run > 0)},
        {"gap": float(((e.elapsed > 1).sum() + 0.5) / (n + 1)), "missing": float(((e.missing > 0).sum() + 0.5) / (n + 1))},
        TailLaw((0.0,), (0.0,), 1.0),
    )
    together = _together(model._components(e))
    together = together[np.isfinite(e.move)]
    return AnomalyModel(**{**model.__dict__, "combined": fit_tail(together, f"the combined score {where}")})


def _statistics(e: Evidence, line: tuple[float, float]) -> dict[str, Array]:
    """The statistics whose large values are surprising, by component."""
    mismatch = e.volume - (line[0] + line[1] * e.span)
    return {
        "range": e.span,
        "stretch": e.stretch,
        "volume": e.volume,
        "lost_volume": -e.volume,
        "stretch_volume": e.stretch_volume,
        "busy": mismatch,
        "thin": -mismatch,
        "wick": e.wick,
        "spike": e.spike,
        "reversal": e.reverted,
    }


def _together(components: Mapping[str, Array]) -> Array:
    """log10 of the mean of 10 ** surprise over the components; what is not known yet says nothing.

    NaN while the return is not yet judged, unless a quality flag is up (a long gap is one, and restarts the level).
    """
    table = np.stack(list(components.values()))
    known = np.isfinite(table)
    together = np.log10((10.0 ** np.where(known, table, 0.0)).mean(axis=0))
    flagged = np.logical_or.reduce([components[name] > 0 for name in COMPONENTS["quality"]])
    return np.where(np.isfinite(components["return"]) | flagged, together, np.nan)
