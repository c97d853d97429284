"""Words that follow figures: short rows for the terminal and the report.

Nothing is called real under two standard errors or when its interval contains 0, nothing good that chance among the trials could give;
a figure too good for markets is called a bug until proven otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from candelabra.evaluation.results import Evaluation, Figure, Measure
from candelabra.evaluation.skill import REFERENCE
from candelabra.evaluation.wording import NO_DIRECTION, best_baseline, decimals, in_words, is_shrunk

__all__ = ["DIRECTION_FANTASY", "VOLATILITY_FANTASY", "VerdictRow", "direction", "verdict"]

DIRECTION_FANTASY: Final = 0.57
VOLATILITY_FANTASY: Final = 0.65
_BUG: Final = "a bug until proven otherwise"
_NONE: Final = "no skill found"


@dataclass(frozen=True)
class VerdictRow:
    """One line of the verdict: what, its figure and interval as text, the words.

    ``good``: None for neither good nor bad; ``flag``: too good to be true.
    """

    what: str
    horizon: str
    figure: str
    interval: str
    words: str
    good: bool | None = None
    flag: bool = False

    def as_dict(self) -> dict[str, str | bool | None]:
        """Plain data for JSON."""
        return asdict(self)


def verdict(evaluation: Evaluation, model: str, *, baselines: Sequence[str] = ()) -> list[VerdictRow]:
    """Verdict on ``model``, horizon by horizon.

    Volatility is compared with every one of ``baselines`` that forecasts it and with the best baseline of all (best on these very
    rows: the strictest choice); the distribution with the unconditional one and with the best; the mean with the zero forecast.
    """
    rows: list[VerdictRow] = []
    for horizon in evaluation.horizons:
        figures = evaluation.of(model, horizon)
        if "r2" in figures:
            rows.append(_volatility(figures["r2"], horizon))
            best = [c.baseline for m in ("r2", "qlike") if (c := best_baseline(evaluation, model, horizon, m))]
            for baseline in dict.fromkeys((*baselines, *best)):
                for measure in ("r2", "qlike"):
                    rows += _against(evaluation, model, baseline, horizon, measure)
        if "crps" in figures:
            rows += _against(evaluation, model, REFERENCE, horizon, "crps", "the unconditional distribution")
            if hardest := best_baseline(evaluation, model, horizon, "crps"):
                rows += _against(evaluation, model, hardest.baseline, horizon, "crps")
            if "coverage_90" in figures:
                rows.append(_coverage(figures["coverage_90"], horizon))
        if "mse" in figures:
            rows += _against(evaluation, model, REFERENCE, horizon, "mse", "the zero forecast")
            if (row := direction(evaluation, model, horizon)) is not None:
                rows.append(row)
            if not math.isnan(figures["rank_ic"].value):
                rows.append(_rank_ic(figures["rank_ic"], evaluation.trials, horizon))
    return rows


def direction(evaluation: Evaluation, model: str, horizon: str) -> VerdictRow | None:
    """The row on the direction of the mean; without figures where the mean was shrunk to 0, None where no direction was ever named."""
    figures = evaluation.of(model, horizon)
    if "direction" in figures and not math.isnan(figures["direction"].value):
        return _direction(figures["direction"], evaluation.up_share.get(horizon, math.nan), evaluation.trials, horizon)
    against_zero = evaluation.compare(model, REFERENCE, horizon, "mse")
    if against_zero is not None and is_shrunk(against_zero):
        return VerdictRow("direction", horizon, "-", "-", NO_DIRECTION)
    return None


def _needed(trials: int) -> float:
    """Standard errors a figure needs: two, more when several were tried (the two-sided 5 % point after Šidák)."""
    from scipy.special import ndtri

    return max(2.0, float(-ndtri((1.0 - 0.95 ** (1.0 / max(trials, 1))) / 2.0)))


def _volatility(r2: Figure, horizon: str) -> VerdictRow:
    flag = r2.value > VOLATILITY_FANTASY
    if flag:
        words, good = _BUG, None
    elif r2.low > 0.0:
        words, good = "explains volatility beyond its mean", True
    else:
        words, good = _NONE, None
    return VerdictRow("volatility R2", horizon, f"{r2.value:.3f}", f"{r2.low:.3f} to {r2.high:.3f}", words, good, flag)


_NAMES: Final[dict[Measure, str]] = {
    "mse": "return MSE",
    "mae": "return MAE",
    "crps": "CRPS",
    "r2": "volatility R2",
    "qlike": "volatility QLIKE",
}


def _against(
    evaluation: Evaluation, model: str, baseline: str, horizon: str, measure: Measure, called: str | None = None
) -> list[VerdictRow]:
    found = evaluation.compare(model, baseline, horizon, measure)
    if found is None:
        return []
    words, good = in_words(found)
    what = f"{_NAMES[measure]} {'over' if measure == 'r2' else 'skill over'} {called or baseline}"
    if is_shrunk(found):
        return [VerdictRow(what, horizon, "0", "-", words, good)]
    times, unit, least = (1.0, "", 3) if measure == "r2" else (100.0, " %", 2)
    places = decimals(times * found.low, times * found.high, least)
    value, low, high = (f"{round(times * v, places) + 0.0:+.{places}f}{unit}" for v in (found.value, found.low, found.high))
    return [VerdictRow(what, horizon, value, f"{low} to {high}", words, good)]


def _share(figure: Figure) -> str:
    """The interval of a share, which cannot leave 0 to 100 %."""
    low, high = (100.0 * min(max(end, 0.0), 1.0) for end in (figure.low, figure.high))
    return f"{low:.1f} to {high:.1f} %"


def _coverage(coverage: Figure, horizon: str, nominal: float = 0.9) -> VerdictRow:
    off = coverage.value - nominal
    error = max(coverage.standard_error, 1e-12)
    if abs(off) <= max(2.0 * error, 0.02):
        words, good = "covers as stated", True
    else:
        words, good = ("too narrow" if off < 0 else "too wide"), False
    return VerdictRow("coverage of 90 % intervals", horizon, f"{100 * coverage.value:.1f} %", _share(coverage), words, good)


def _direction(accuracy: Figure, up_share: float, trials: int, horizon: str) -> VerdictRow:
    chance = 0.5 if math.isnan(up_share) else max(up_share, 1.0 - up_share)
    error = accuracy.standard_error
    beyond = (accuracy.value - chance) / error if error > 0.0 else 0.0
    flag = accuracy.value > DIRECTION_FANTASY
    good: bool | None = None
    if flag:
        words = _BUG
    elif beyond >= _needed(trials):
        words, good = f"above chance by {beyond:.1f} standard errors; whether it pays after costs is another question", True
    elif (accuracy.value - 0.5) / error >= 2.0 if error > 0.0 else False:
        words = f"no better than always naming the commoner direction ({100 * chance:.1f} %)"
    else:
        words = _NONE
    return VerdictRow("direction", horizon, f"{100 * accuracy.value:.1f} %", _share(accuracy), words, good, flag)


def _rank_ic(figure: Figure, trials: int, horizon: str) -> VerdictRow:
    beyond = figure.value / figure.standard_error if figure.standard_error > 0.0 else 0.0
    real = beyond >= _needed(trials)
    words = f"above zero by {beyond:.1f} standard errors" if real else _NONE
    return VerdictRow("rank IC", horizon, f"{figure.value:+.3f}", f"{figure.low:+.3f} to {figure.high:+.3f}", words, True if real else None)
