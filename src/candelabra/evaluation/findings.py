"""What an audit says: findings in words with column, time and distance, and how much was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from candelabra.candles.frame import format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError

__all__ = ["Audit", "Finding", "Law", "span_words"]

Law: TypeAlias = Literal["future", "stale", "stream", "fit", "label", "split", "layer"]


@dataclass(frozen=True)
class Finding:
    """One thing that breaks a law.

    ``column``: the column, constant, part of a split or layer; ``bars``: how many bars it reads ahead (``future``, ``label``, ``layer``),
    past the end of its range (``fit``, ``split``) or lags behind (``stale``), in bars of ``unit``, None where there is no distance;
    ``time_ms``: the first output that moved, None where there is no time; ``to_the_end``: the distance is that of the last bar there is;
    ``way``: the change that showed it; ``detail``: what else is known, in words.
    """

    subject: str
    law: Law
    column: str
    bars: int | None = None
    unit: str = "bar"
    time_ms: int | None = None
    to_the_end: bool = False
    way: str = ""
    detail: str = ""

    @property
    def words(self) -> str:
        """The finding as a sentence.

        >>> Finding("rsi", "future", "rsi_14", 3, "1h", 1_646_128_800_000).words
        'rsi_14 at 2022-03-01 10:00 reads 3 bars ahead (3h)'
        """
        at = "" if self.time_ms is None else f" at {format_time(self.time_ms)}"
        bars, length = ("", "") if self.bars is None else span_words(self.bars, self.unit)
        end = f"{length}, to the end of what was given" if self.to_the_end else length
        said = {
            "future": f"{self.column}{at} reads {bars} ahead{end}" if bars else f"{self.column}{at} reads what came later",
            "label": f"{self.column}{at} reads {bars} past its known_at{end}" if bars else f"{self.column}{at} reads past its known_at",
            "stale": f"{self.column} is {bars} late{length}" if bars else f"{self.column} does not hear of the newest bar",
            "stream": f"{self.column}{at} differs when candles come one by one",
            "fit": f"{self.column} reads {bars} past the end of its range{at}{end}" if bars else f"{self.column} reads past its range",
            "split": f"{self.column}{at} overlaps by {bars}{length}" if bars else f"{self.column}{at} overlaps",
            "layer": f"{self.column} reads {bars} ahead{end}" if bars else f"{self.column} reads ahead",
        }[self.law]
        return f"{said}: {self.detail}" if self.detail else said

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the sentence among them."""
        kept = {k: getattr(self, k) for k in ("subject", "law", "column", "bars", "unit", "time_ms", "to_the_end", "way", "detail")}
        return kept | {"words": self.words}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Finding:
        """The inverse of `to_dict`."""
        return cls(**{k: v for k, v in values.items() if k != "words"})


def span_words(bars: int, unit: str) -> tuple[str, str]:
    """A distance for people: how many bars, and in parentheses the time they take where bars have a length.

    >>> span_words(1, "4h"), span_words(48, "15m"), span_words(2, "row")
    (('1 bar', ' (4h)'), ('48 bars', ' (12h)'), ('2 rows', ''))
    """
    try:
        frame = Timeframe(unit)
    except UsageError:
        return f"{bars:,} {unit}" + ("" if bars == 1 else "s"), ""
    return f"{bars:,} bar{'' if bars == 1 else 's'}", f" ({_length(bars * frame.count, frame.unit)})"


def _length(count: int, unit: str) -> str:
    for low, step, high in (("s", 60, "m"), ("m", 60, "h"), ("h", 24, "d")):
        if unit == low and count % step == 0 and count >= 2 * step:
            count, unit = count // step, high
    return f"{count:,}{unit}"


@dataclass(frozen=True)
class Audit:
    """What was tried on one subject, and what was found.

    ``tried``: number of runs by what was done; ``notes``: what could not be judged and why, in words; ``seed``: of every random change;
    ``data``: fingerprint of what it ran on.
    """

    subject: str
    findings: tuple[Finding, ...] = ()
    tried: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    columns: int = 0
    rows: int = 0
    seed: int = 0
    data: str = ""
    code: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def summary(self) -> str:
        """One sentence."""
        runs = sum(self.tried.values())
        if self.findings:
            more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
            return f"{self.subject}: {self.findings[0].words}{more}"
        return f"{self.subject}: nothing found in {runs:,} runs over {self.columns:,} columns and {self.rows:,} rows"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "subject": self.subject,
            "passed": self.passed,
            "findings": [f.to_dict() for f in self.findings],
            "tried": dict(self.tried),
            "notes": list(self.notes),
            "columns": self.columns,
            "rows": self.rows,
            "seed": self.seed,
            "data": self.data,
            "code": self.code,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Audit:
        """The inverse of `to_dict`."""
        kept = {k: v for k, v in values.items() if k not in ("passed", "findings", "notes")}
        return cls(findings=tuple(Finding.from_dict(f) for f in values["findings"]), notes=tuple(values["notes"]), **kept)
