"""What was checked, and what this report does not show, in plain words."""

from __future__ import annotations

from candelabra.report import digits
from candelabra.report.inputs import CausalityCheck, ReportInputs, RunFacts
from candelabra.report.markup import Cell, Section, escape, table, words

__all__ = ["section"]

STANDING = (
    "A test range is one piece of history: the intervals account for its noise and overlapping horizons, not for a market that changes.",
    "Skill in volatility or in intervals is not profit; a backtest fills at opens that nobody moved and knows no queue and no outage.",
    "Comparisons are with the baselines listed in the results table; a stronger rule that is not listed may exist.",
    "Forecast intervals are calibrated on average, not for each moment: they can fail together in a storm (see coverage over time).",
    "Candles are taken as the source gave them; errors that look like lawful candles go unnoticed.",
)


def section(inputs: ReportInputs) -> Section:
    """Checks of this run, the number of looks, and the limits."""
    run = inputs.run
    limits = (*_of_run(run), *inputs.limits, *STANDING)
    points = "".join(f"<li>{escape(text)}</li>" for text in limits)
    promise = (
        "A forecast for the close of a bar reads only bars closed by then, at every timeframe; scalers and feature choices were "
        "fitted on the train range, early stopping and weights on validation, intervals on the calibration range."
    )
    body = f"<p>{escape(promise)}</p>"
    if inputs.causality:
        body += table(("Check on this run", "Result", "Detail"), [_row(c) for c in inputs.causality])
    else:
        body += (
            '<p class="aside">No causality check was recorded for this run; the promise above rests on the design and its tests alone.</p>'
        )
    return Section(
        "limits", "Causality and limits", "Limits", f"{body}<h3>What this report does not show</h3><ul class='limits'>{points}</ul>"
    )


def _row(check: CausalityCheck) -> list[Cell]:
    word, css = {True: ("holds", "chip holds"), False: ("broken", "chip error"), None: ("not run", "chip note")}[check.passed]
    return [words(check.what), words(word, css), words(check.detail, "muted")]


def _of_run(run: RunFacts) -> list[str]:
    said = []
    if run.simulated:
        said.append("The market is simulated: nothing here says anything about real prices.")
    looks = digits.often(run.test_openings)
    tried = digits.count(run.trials, "configuration")
    said.append(
        f"{tried} tried on validation, the test range opened {looks}: "
        + (
            "every further look would weaken it."
            if run.test_openings <= 1
            else "no longer a first look, so read small advantages with doubt."
        )
    )
    return said
