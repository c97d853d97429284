"""``CARD.md``: what a person should know before using a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from candelabra.candles.frame import format_minute

__all__ = ["write_card"]


def write_card(values: Mapping[str, Any], verdict: Sequence[str], notes: Sequence[str]) -> str:
    """Markdown from the values of a manifest (without its id and files), the verdict's lines and notes.

    It says what the model learned from, what it was found to be worth, what it needs, and what it is not for.
    """
    lines = [f"# {values['model']} for {', '.join(values['symbols'])}", ""]
    if values["simulated"]:
        lines += ["**Trained on a SIMULATED market: it says nothing about real prices.**", ""]
    lines += [
        f"Quantiles of the log return and log realised volatility at the close of each {values['recipe']['base']} bar, over "
        f"{', '.join(values['horizons'])}. Made by candelabra {values['version']}, seed {values['seed']}; the test range has been opened "
        f"{values['trials']} time(s).",
        "",
        "## Learned from",
        *(f"- {name}: {format_minute(a)} to {format_minute(b)} UTC" for name, (a, b) in values["ranges"].items()),
        "",
        "## Found to be worth, on the test range",
        *(f"- {line}" for line in verdict or ("not evaluated",)),
        "",
        "## Needs",
        *(f"- {count} closed {tf} candles" for tf, count in values["needs"].items()),
        "",
        "## Limits",
        "- Figures hold for the ranges above; markets change, and the intervals are wide for that reason.",
        "- The direction of returns is close to unpredictable: read volatility and intervals, not arrows.",
        "- No trading cost is in these figures. Nothing here is advice.",
        *(f"- {note}" for note in notes),
    ]
    return "\n".join(lines) + "\n"
