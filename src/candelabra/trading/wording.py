"""Words that follow the figures of a backtest; "no skill after costs" is a good, common answer."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Final

from candelabra.metrics.significance import Difference, adjusted_p_value, words
from candelabra.trading.study import Study

__all__ = ["SHARPE_FANTASY", "TradingRow", "conclusion", "verdict"]

SHARPE_FANTASY: Final = 4.0
"""Nobody keeps this a year after costs: a bug until proven otherwise."""
NO_TRADE: Final = "no trade: no forecast paid for its costs"
NO_SKILL: Final = "no skill after costs"
LOST: Final = "clearly lost after costs"
EARNED: Final = "earned more than luck explains"
BUG: Final = "a bug until proven otherwise"


@dataclass(frozen=True)
class TradingRow:
    """One line of a backtest's verdict; ``good``: None for neither good nor bad, ``flag``: too good to be true."""

    what: str
    figure: str
    interval: str
    words: str
    good: bool | None = None
    flag: bool = False

    def as_dict(self) -> dict[str, str | bool | None]:
        """Plain data for JSON."""
        return asdict(self)


def verdict(found: Study) -> list[TradingRow]:
    """Return, risk, buy-and-hold, chance, costs and luck, a line each. Nothing is called skill within two standard errors."""
    own, hold = found.figures, found.hold_figures
    traded = found.run.totals["orders"] > 0.0
    rows = [
        TradingRow("net return", _percent(own.growth), "", f"buy-and-hold {_percent(hold.growth)}, flat 0 %"),
        TradingRow("largest drawdown", _percent(own.max_drawdown), "", f"buy-and-hold {_percent(hold.max_drawdown)}"),
    ]
    if not traded:
        return [*rows, TradingRow("trades", "0", "", NO_TRADE)]
    said, good = conclusion(found)
    rows.append(TradingRow("Sharpe ratio, a year", f"{own.sharpe:.2f}", _range(found.sharpe, "{:.2f}"), said, good, said == BUG))
    rows.append(_against_hold(found))
    rows.append(_timing(found))
    rows.append(_costs(found))
    rows.append(_luck(found))
    return rows


def conclusion(found: Study) -> tuple[str, bool | None]:
    """The words for a backtest as a whole, and whether they are good."""
    if found.run.totals["orders"] == 0.0:
        return NO_TRADE, None
    sharpe = found.sharpe
    error = (sharpe.high - sharpe.low) / (2.0 * 1.96)
    if sharpe.value > SHARPE_FANTASY:
        return BUG, None
    if sharpe.high < 0.0 and sharpe.value < -2.0 * error:
        return LOST, False
    if not (sharpe.low > 0.0 and sharpe.value > 2.0 * error):
        return NO_SKILL, None
    if not found.deflated >= 0.95:
        return f"earned, but may be luck among {found.trials} tries", None
    return EARNED, True


def _against_hold(found: Study) -> TradingRow:
    gap = found.excess
    said, good = {"clearly better": ("clearly better", True), "clearly worse": ("clearly worse", False)}.get(
        words(gap.value, gap.low, gap.high), ("no clear difference", None)
    )
    if good and adjusted_p_value(gap.p_value, found.trials) > 0.05:
        said, good = f"better, but may be luck among {found.trials} tries", None
    return TradingRow("log growth a year over buy-and-hold", f"{gap.value:+.2f}", _range(gap, "{:+.2f}"), said, good)


def _timing(found: Study) -> TradingRow:
    share = found.chance.percentile
    if math.isnan(share):
        return TradingRow("same positions at random times", "-", "", "one position all the time: no timing to test")
    low, high = (float(q) for q in _quantiles(found))
    said, good = ("no better timed than chance", None) if share < 0.975 else ("better timed than chance", True)
    if share <= 0.025:
        said, good = "worse timed than chance", False
    return TradingRow("better than random times", f"{100 * share:.0f} %", f"{_percent(low)} to {_percent(high)}", said, good)


def _costs(found: Study) -> TradingRow:
    account, even = found.run.account, found.break_even
    paid = 1e4 * account.per_side
    if even == 0.0:
        return TradingRow("break-even cost of an order", "0 bp", "", "loses even for free", False)
    figure = f"{1e4 * even:.1f} bp" if even < 0.2 else "over 2,000 bp"
    good = even > account.per_side
    return TradingRow("break-even cost of an order", figure, "", f"{'above' if good else 'below'} the {paid:.3g} bp it paid", None)


def _luck(found: Study) -> TradingRow:
    tries = f"after {found.trials} tries" if found.trials > 1 else "a single try"
    said = "skill is likely" if found.deflated >= 0.95 else "luck is not ruled out"
    return TradingRow("probability of any skill (deflated Sharpe)", f"{100 * found.deflated:.0f} %", "", f"{said}, {tries}")


def _quantiles(found: Study) -> tuple[float, float]:
    import numpy as np

    low, high = np.quantile(found.chance.growth, [0.025, 0.975])
    return float(low), float(high)


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "-"
    text = f"{100 * share:+.1f}"
    return f"{text if float(text) else text[1:]} %"


def _range(found: Difference, form: str) -> str:
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        return ""
    return f"{form.format(found.low)} to {form.format(found.high)}"
