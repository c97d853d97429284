"""Numbers as a reader wants them: sensible digits, a real minus sign, no false precision."""

from __future__ import annotations

import math

from candelabra.candles.frame import format_time
from candelabra.evaluation.wording import decimals

__all__ = [
    "DASH",
    "count",
    "date",
    "fixed",
    "interval",
    "moment",
    "often",
    "p_value",
    "percent",
    "signed",
    "significant",
    "skill",
    "skill_places",
]

DASH = "–"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float | None, digits: int = 3) -> str:
    """A number with ``digits`` significant digits; below 1e-4 as a power of ten.

    >>> significant(0.012345), significant(27123.456, 6), significant(-2.0), significant(float("nan"))
    ('0.0123', '27,123.5', '−2.00', '–')
    >>> significant(3.112e-5, 4), significant(0.99999)
    ('3.112×10⁻⁵', '1.00')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    mantissa, power = f"{value:.{digits - 1}e}".split("e")  # the power after rounding: 0.9999 has that of 1
    if not 1e-4 <= abs(value) < 1e15:
        return f"{mantissa}×10{str(int(power)).translate(RAISED)}".replace("-", "−")
    places = max(0, digits - 1 - int(power))
    return f"{value:,.{places}f}".replace("-", "−")


def percent(value: float | None, places: int = 1) -> str:
    """A fraction as a percentage.

    >>> percent(0.9012), percent(-0.004, 2), percent(-0.00001)
    ('90.1 %', '−0.40 %', '0.0 %')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return f"{round(100 * value, places) + 0.0:,.{places}f} %".replace("-", "−")  # + 0.0: no minus before zero


def fixed(value: float | None, places: int) -> str:
    """A number with ``places`` decimals.

    >>> fixed(0.36951, 3), fixed(-0.0001, 3), fixed(float("nan"), 3)
    ('0.370', '0.000', '–')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return f"{round(value, places) + 0.0:,.{places}f}".replace("-", "−")


def signed(text: str) -> str:
    """The same text with a plus sign where it is positive.

    >>> signed("1.2 %"), signed("−1.2 %"), signed("–"), signed("0")
    ('+1.2 %', '−1.2 %', '–', '0')
    """
    return text if text == DASH or text.startswith("−") or not any(c in "123456789" for c in text) else "+" + text


def skill(value: float | None, unit: str, places: int | None = None) -> str:
    """A skill with its sign: percent for ``"%"`` with two decimals, a plain number with three otherwise, if not said.

    >>> skill(0.0123, "%"), skill(-0.0421, ""), skill(0.00042, "", 4)
    ('+1.23 %', '−0.042', '+0.0004')
    """
    if value is None or not math.isfinite(value):
        return DASH
    return signed(percent(value, 2 if places is None else places) if unit == "%" else fixed(value, 3 if places is None else places))


def skill_places(low: float, high: float, unit: str) -> int:
    """Decimals for a skill and its interval: more than usual where the interval would seem to touch 0 and does not.

    >>> skill_places(0.0004, 0.0021, ""), skill_places(0.00003, 0.002, "%"), skill_places(-0.1, 0.1, "%")
    (4, 3, 2)
    """
    return decimals(100 * low, 100 * high, 2) if unit == "%" else decimals(low, high, 3)


def interval(low: float | None, high: float | None, unit: str) -> str:
    """The two ends of an interval, with `skill_places`.

    >>> interval(-0.01, 0.02, "%"), interval(0.0004, 0.0021, "")
    ('−1.00 … +2.00 %', '+0.0004 … +0.0021')
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return DASH
    places = skill_places(low, high, unit)
    return f"{skill(low, unit, places).removesuffix(' %')} … {skill(high, unit, places)}"


def p_value(value: float | None) -> str:
    """A p-value; below one in a thousand only that is said.

    >>> p_value(0.00002), p_value(0.0312), p_value(0.4)
    ('< 0.001', '0.031', '0.40')
    """
    if value is None or not math.isfinite(value):
        return DASH
    if value < 0.001:
        return "< 0.001"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def count(value: int, noun: str = "", plural: str = "") -> str:
    """A count with its noun.

    >>> count(1, "gap"), count(2100000, "bar"), count(2, "entry", "entries")
    ('1 gap', '2,100,000 bars', '2 entries')
    """
    if not noun:
        return f"{value:,}"
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def often(value: int) -> str:
    """How often.

    >>> often(1), often(2), often(5)
    ('once', 'twice', '5 times')
    """
    return {1: "once", 2: "twice"}.get(value, f"{value:,} times")


def date(time_ms: int) -> str:
    """The UTC day of a time.

    >>> date(1_700_000_000_000)
    '2023-11-14'
    """
    return format_time(time_ms)[:10]


def moment(time_ms: int) -> str:
    """A time for people, UTC, to the minute.

    >>> moment(1_700_000_000_000)
    '2023-11-14 22:13'
    """
    return format_time(time_ms - time_ms % 60_000)
