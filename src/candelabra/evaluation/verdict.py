"""Words that follow figures: short rows for the terminal and the report.

Nothing is called real under two standard errors or when its interval contains 0, nothing good that chance among the trials could give;
a figure too good for markets is called a bug until proven otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from candelabra.evaluation.results import Comparison, Evaluation, Figure, Measure
from candelabra.evaluation.skill import REFERENCE

__all__ = ["DIRECTION_FANTASY", "VOLATILITY_FANTASY", "VerdictRow", "verdict"]

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


def verdict(
    evaluation: Evaluation, model: str, *, baselines: Sequence[str] = (), quantile_baselines: Sequence[str] = ()
) -> list[VerdictRow]:
    """Verdict on ``model``, horizon by horizon.

    Volatility is compared with every one of ``baselines`` that forecasts it; the distribution with the unconditional one and with the
    best of ``quantile_baselines`` (best on these very rows: the strictest choice); the mean with the zero forecast.
    """
    rows: list[VerdictRow] = []
    for horizon in evaluation.horizons:
        figures = evaluation.of(model, horizon)
        if "r2" in figures:
            rows.append(_volatility(figures["r2"], horizon))
            for baseline in baselines:
                for measure in ("r2", "qlike"):
                    rows += _against(evaluation, model, baseline, horizon, measure)
        if "crps" in figures:
            rows += _against(evaluation, model, REFERENCE, horizon, "crps", "the unconditional distribution")
            best = evaluation.best(tuple(b for b in quantile_baselines if b != model), horizon, "crps")
            if best:
                rows += _against(evaluation, model, best, horizon, "crps")
            if "coverage_90" in figures:
                rows.append(_coverage(figures["coverage_90"], horizon))
        if "mse" in figures:
            rows += _against(evaluation, model, REFERENCE, horizon, "mse", "the zero forecast")
            if not math.isnan(figures["direction"].value):
                rows.append(_direction(figures["direction"], evaluation.up_share.get(horizon, math.nan), evaluation.trials, horizon))
            if not math.isnan(figures["rank_ic"].value):
                rows.append(_rank_ic(figures["rank_ic"], evaluation.trials, horizon))
    return rows


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


def _percent(value: float) -> str:
    return f"{100.0 * value:+.2f} %"


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
    words, good = _comparison_words(found)
    show = (lambda v: f"{v:+.3f}") if measure == "r2" else _percent
    what = f"{_NAMES[measure]} {'over' if measure == 'r2' else 'skill over'} {called or baseline}"
    return [VerdictRow(what, horizon, show(found.value), f"{show(found.low)} to {show(found.high)}", words, good)]


def _comparison_words(found: Comparison) -> tuple[str, bool | None]:
    if found.words == "clearly worse":
        return "clearly worse", False
    if found.words == "clearly better":
        if found.trials > 1 and found.adjusted_p_value > 0.05:
            return f"better, but may be luck among {found.trials} trials", None
        return "clearly better", True
    if found.baseline == REFERENCE:
        return _NONE, None
    return ("level", None) if found.words == "level" else ("behind, not clearly", None)


def _coverage(coverage: Figure, horizon: str, nominal: float = 0.9) -> VerdictRow:
    off = coverage.value - nominal
    error = max(coverage.standard_error, 1e-12)
    if abs(off) <= max(2.0 * error, 0.02):
        words, good = "covers as stated", True
    else:
        words, good = ("too narrow" if off < 0 else "too wide"), False
    interval = f"{100 * coverage.low:.1f} to {100 * coverage.high:.1f} %"
    return VerdictRow("coverage of 90 % intervals", horizon, f"{100 * coverage.value:.1f} %", interval, words, good)


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
    interval = f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %"
    return VerdictRow("direction", horizon, f"{100 * accuracy.value:.1f} %", interval, words, good, flag)


def _rank_ic(figure: Figure, trials: int, horizon: str) -> VerdictRow:
    beyond = figure.value / figure.standard_error if figure.standard_error > 0.0 else 0.0
    real = beyond >= _needed(trials)
    words = f"above zero by {beyond:.1f} standard errors" if real else _NONE
    return VerdictRow("rank IC", horizon, f"{figure.value:+.3f}", f"{figure.low:+.3f} to {figure.high:+.3f}", words, True if real else None)
