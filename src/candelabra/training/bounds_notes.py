"""Where no decoder kept what was asked of it on validation: which came nearest, and by how much it missed."""

from __future__ import annotations

import numpy as np

from candelabra.training.regime_settings import Bounds
from candelabra.training.segmenter_fit import SegmenterFit, bounds_for

__all__ = ["bounds_notes"]

_SOURCES = {
    "switching": "the switching model", "logistic": "the logistic regression", "network": "the network",
    "mean": "the mean of network and switching model", "joint": "the network that forecasts too",
}  # fmt: skip


def bounds_notes(fit: SegmenterFit, asked: Bounds) -> dict[str, str]:
    """A sentence for each timeframe, by name, where ``asked`` (see `bounds_for`) is not kept on validation, or cannot be without harm."""
    told = {}
    for name in fit.segmenter.readers if fit.segmenter.mode == "filtered" else ():
        taken = fit.segmenter.readers[name]
        nearest = next(c for c in fit.choices if (c.timeframe, c.source, c.trial.settings) == (name, taken.source, taken.decoder.settings))
        limits, trial = bounds_for(fit.network.durations[name], asked), nearest.trial
        if trial.excess > 0:
            told[name] = (
                f"{name}: no decoder had {_words(limits, asked)} on validation; the nearest, {trial.settings.kind} after "
                f"{_SOURCES[nearest.source]}, had {trial.flips:.3g} changes{_late(trial.delay)}, and was taken: allow more, or label more"
            )
        elif limits.delay is not None and not np.isfinite(trial.delay):
            told[name] = (
                f"{name}: a delay of at most {limits.delay:g} bars was asked for, and the validation range has no change of regime to "
                "measure one on: label more history, or give validation a larger share (windows.shares)"
            )
        durations = fit.network.durations[name]
        own = 1000 / max(float(durations.mean @ durations.share), 1.0)
        if asked.flips is not None and asked.margin * asked.flips < own:
            hard = (
                f"the training labels change {own:.3g} times in 1,000 bars: a decoder held to {asked.margin * asked.flips:.3g} has to "
                "miss regimes"
            )
            told[name] = f"{told[name]}; {hard}" if name in told else f"{name}: {hard}"
    return told


def _words(limits: Bounds, asked: Bounds) -> str:
    """What was wanted, with the margin taken off."""
    wanted = []
    if limits.flips is not None:
        usual = "" if asked.flips is not None else " (four times as many as in the training labels)"
        wanted.append(f"at most {limits.margin * limits.flips:.3g} changes in 1,000 bars{usual}")
    if limits.delay is not None:
        wanted.append(f"a median delay of at most {limits.margin * limits.delay:.3g} bars")
    given = asked.flips is not None or asked.delay is not None
    return " and ".join(wanted) + (f" ({limits.margin:.0%} of what may be, for validation flatters)" if given and limits.margin < 1 else "")


def _late(delay: float) -> str:
    return f" and a delay of {delay:.3g} bars" if np.isfinite(delay) else ""
