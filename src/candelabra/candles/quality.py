"""How good a series of candles is: findings with counts and places, coverage by month, and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time, law_breaks
from candelabra.candles.raw import NO_TIME, RawCandles

__all__ = ["FATAL", "Finding", "MonthCoverage", "QualityReport", "Verdict", "bad_rows", "inspect"]

Verdict = Literal["good", "usable with notes", "unusable"]

FATAL: Final = ("empty", "no time", "disorder", "conflicting duplicate", "off grid", "not finite", "broken high/low law", "constant")
_FIRST_ROWS: Final = 5
_BLOCK: Final = 256
_FLAT_RUN: Final = 50


@dataclass(frozen=True)
class Finding:
    """One kind of thing that was found: how often, where first, the worst case in words, and the first rows."""

    kind: str
    count: int
    first_time: str
    worst: str
    rows: tuple[int, ...]
    fatal: bool


@dataclass(frozen=True)
class MonthCoverage:
    """How many bars of a calendar month (within the series' span) are there."""

    month: str
    present: int
    expected: int


@dataclass(frozen=True)
class QualityReport:
    """What :func:`inspect` found; ``as_dict`` is plain JSON."""

    symbol: str
    timeframe: str
    bars: int
    first_time: str
    last_time: str
    findings: tuple[Finding, ...]
    coverage: tuple[MonthCoverage, ...]
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists, strings and numbers."""
        return asdict(self)

    def count(self, kind: str) -> int:
        """How many of a kind were found."""
        return sum(f.count for f in self.findings if f.kind == kind)


def inspect(candles: Candles | RawCandles) -> QualityReport:
    """Look at candles, or at raw columns that may not be candles, and say what is wrong with them.

    Fatal kinds (``FATAL``: such rows cannot become candles, or the series cannot teach anything) make the verdict "unusable";
    duplicates that repeat exactly, gaps, absent minutes, zero volume, frozen prices, spikes and a missing volatility clustering make it
    "usable with notes".
    Spikes are measured against the median move nearby, so that fat tails and volatile years do not count.

    >>> c = Candles.of("BTC/USDT", "1h", [0, 3_600_000, 18_000_000], *[[2.0, 2.0, 2.0]] * 4, [1, 1, 0])
    >>> [(f.kind, f.count) for f in inspect(c).findings]
    [('gap', 3), ('zero volume', 1)]
    """
    raw = RawCandles.of(candles) if isinstance(candles, Candles) else candles
    n = len(raw)
    if n == 0:
        nothing = Finding("empty", 0, "", "there are no rows", (), True)
        return QualityReport(raw.symbol, raw.timeframe.name, 0, "", "", (nothing,), (), "unusable")
    findings: list[Finding] = []

    def found(kind: str, mask: NDArray[np.bool_], worst: Callable[[NDArray[np.int64]], str], count: int | None = None) -> None:
        rows = np.flatnonzero(mask)
        if len(rows):
            time = int(raw.open_time[rows[0]])
            first = "" if time == NO_TIME else format_time(time)
            some = tuple(int(r) for r in rows[:_FIRST_ROWS])
            findings.append(Finding(kind, len(rows) if count is None else count, first, worst(rows), some, kind in FATAL))

    bad = bad_rows(raw)
    for kind, mask in bad.items():
        found(kind, mask, lambda rows: f"{raw.where(int(rows[0]))}: {raw.describe(int(rows[0]))}")
    refused = np.logical_or.reduce([m for k, m in bad.items() if k != "disorder"])
    good = np.flatnonzero(~refused)
    good = good[np.argsort(raw.open_time[good], kind="stable")]
    clean = raw.rows(good)
    coverage: tuple[MonthCoverage, ...] = ()
    if len(clean):
        _series_findings(raw, clean, good, found)
        coverage = _coverage(clean)
    timed = raw.open_time[raw.open_time != NO_TIME]
    span = (format_time(int(timed.min())), format_time(int(timed.max()))) if len(timed) else ("", "")
    verdict: Verdict = "unusable" if any(f.fatal for f in findings) else "usable with notes" if findings else "good"
    return QualityReport(raw.symbol, raw.timeframe.name, n, *span, tuple(findings), coverage, verdict)


def bad_rows(raw: RawCandles) -> dict[str, NDArray[np.bool_]]:
    """Masks over the rows that cannot stay, by kind; a row is counted under the first kind that fits, order apart."""
    time, values = raw.open_time, raw.values()
    no_time = time == NO_TIME
    off = np.zeros(len(raw), np.bool_)
    if no_time.any():
        off[~no_time] = raw.timeframe.floor(time[~no_time]) != time[~no_time]
    else:
        off = raw.timeframe.floor(time) != time
    finite = np.logical_and.reduce([np.isfinite(v) for v in values])
    broken = finite & law_breaks(*values)
    again, disputed, disorder = _repeats(time, values, no_time, off)
    return {
        "no time": no_time,
        "off grid": off,
        "not finite": ~finite & ~no_time & ~off,
        "broken high/low law": broken & ~no_time & ~off,
        "conflicting duplicate": disputed,
        "identical duplicate": again & ~disputed & ~off,
        "disorder": disorder,
    }


def _repeats(
    time: NDArray[np.int64], values: tuple[NDArray[np.float64], ...], no_time: NDArray[np.bool_], off: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows whose time was there before, rows whose time has differing rows, and rows earlier than one before them."""
    again, disputed, disorder = (np.zeros(len(time), np.bool_) for _ in range(3))
    if bool((time[1:] > time[:-1]).all()):
        return again, disputed, disorder
    order = np.argsort(time, kind="stable")
    again[order[1:]] = time[order[1:]] == time[order[:-1]]
    # Each row is compared with the first of its time, so that a repeat of a repeat is seen as such.
    first = order[np.searchsorted(time[order], time)]
    same = np.logical_and.reduce([(v == v[first]) | (np.isnan(v) & np.isnan(v[first])) for v in values])
    again &= ~no_time
    # Which of two differing rows is true cannot be known here: every row of such a time is in conflict.
    disputed[first[again & ~same]] = True
    disputed = disputed[first] & ~no_time & ~off
    latest = np.maximum.accumulate(time)
    disorder[1:] = (time[1:] < latest[:-1]) & ~no_time[1:]
    return again, disputed, disorder


def _series_findings(raw: RawCandles, clean: RawCandles, back: NDArray[np.int64], found: Callable[..., None]) -> None:
    """Findings about rows that are candles one by one; ``back`` maps them to the rows of ``raw``."""
    frame, close, n = raw.timeframe, clean.close, len(clean)

    def spread(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        out = np.zeros(len(raw), np.bool_)
        out[back[mask]] = True
        return out

    absent = np.concatenate([[0], np.diff(frame.index(clean.open_time)) - 1])
    if absent.any():
        at = int(np.argmax(absent))
        words = f"{int((absent > 0).sum())} gaps; the longest, {int(absent[at])} bars, ends at {format_time(int(clean.open_time[at]))}"
        found("gap", spread(absent > 0), lambda _: words, int(absent.sum()))
    lost = clean.missing
    if lost.any():
        at = int(np.argmax(lost))
        words = f"{int(lost[at])} source bars absent inside the bar at {format_time(int(clean.open_time[at]))}"
        found("source bars absent inside", spread(lost > 0), lambda _: words)
    found("zero volume", spread(clean.volume == 0), lambda rows: f"{len(rows) / n:.2%} of all bars")
    flat = (clean.high == clean.low) & (np.diff(close, prepend=close[0]) == 0)
    runs = _run_lengths(flat)
    if n >= _FLAT_RUN and runs.max() >= 0.5 * n:
        found("constant", spread(flat), lambda _: f"the price does not move for {int(runs.max())} of {n} bars")
    elif runs.max() >= _FLAT_RUN:
        at = int(np.argmax(runs))
        words = f"{int(runs[at])} bars without any move, up to {format_time(int(clean.open_time[at]))}"
        found("frozen price", spread(_in_long_runs(runs)), lambda _: words)
    if n > _FLAT_RUN:
        move = np.diff(np.log(close), prepend=np.log(close[0]))
        move[absent > 0] = 0.0
        size = _spike_size(move, clean)
        if (size > 1).any():
            at = int(np.argmax(size))
            place = format_time(int(clean.open_time[at]))
            found("spike", spread(size > 1), lambda _: f"at {place}: {clean.describe(at)}")
        if n >= 1000:
            _clustering(np.abs(move[absent == 0]), found, len(raw))


def _spike_size(move: NDArray[np.float64], clean: RawCandles) -> NDArray[np.float64]:
    """How far a bar is beyond what a market does, 1 = the border: jumps that revert at once, and lonely wicks."""
    usual = _nearby_median(np.abs(move))
    after = np.append(move[1:], 0.0)
    jump = np.minimum(np.abs(move), np.abs(after)) * (np.sign(move) == -np.sign(after))
    reverted = np.abs(move + after) < 0.25 * np.abs(move)
    body_high, body_low = np.maximum(clean.open, clean.close), np.minimum(clean.open, clean.close)
    wick = np.maximum(np.log(clean.high / body_high), np.log(body_low / clean.low))
    return np.asarray(np.maximum(np.where(reverted, jump, 0.0) / (40 * usual), wick / (150 * usual)))


def _nearby_median(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of the moves that are not zero in blocks of 256 bars (never under a quarter of the whole series')."""
    moving = size[size > 0]
    floor = 0.25 * float(np.median(moving)) if len(moving) else 1.0
    blocks = np.pad(size, (0, -len(size) % _BLOCK), mode="edge").reshape(-1, _BLOCK)
    return np.repeat(np.maximum(np.median(blocks, axis=1), floor), _BLOCK)[: len(size)]


def _clustering(size: NDArray[np.float64], found: Callable[..., None], rows: int) -> None:
    """Volatile bars come in clusters in every market; a random walk has none (mean autocorrelation of |return| over 24 lags, ranks)."""
    rank = np.argsort(np.argsort(size)).astype(np.float64)
    rank -= rank.mean()
    variance = float((rank**2).mean())
    mean = float(np.mean([(rank[k:] * rank[:-k]).mean() / variance for k in range(1, 25)]))
    if mean < 0.02:
        mask = np.zeros(rows, np.bool_)
        mask[0] = True
        words = f"mean rank autocorrelation of |return| over 24 bars is {mean:.3f}; markets show 0.05 and more: is this generated data?"
        found("no volatility clustering", mask, lambda _: words)


def _run_lengths(flat: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At each bar, how many flat bars in a row end there."""
    count = np.arange(1, len(flat) + 1)
    return np.asarray(count - np.maximum.accumulate(np.where(flat, 0, count)))


def _in_long_runs(runs: NDArray[np.int64]) -> NDArray[np.bool_]:
    long = np.zeros(len(runs) + 1, np.int64)
    for end in np.flatnonzero((runs >= _FLAT_RUN) & (np.append(runs[1:], 0) == 0)):
        long[end + 1 - runs[end]] += 1
        long[end + 1] -= 1
    return np.cumsum(long)[:-1] > 0


def _coverage(clean: RawCandles) -> tuple[MonthCoverage, ...]:
    frame, times = clean.timeframe, clean.open_time
    months = times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
    first, last = int(months[0]), int(months[-1])
    present = np.bincount(months - first, minlength=last - first + 1)
    edges = np.arange(first, last + 2).astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    edges = np.clip(edges, times[0], int(frame.next(times[-1])))
    bars = frame.index(frame.ceil(edges))
    names = np.arange(first, last + 1).astype("datetime64[M]").astype(str)
    return tuple(MonthCoverage(str(m), int(p), int(e)) for m, p, e in zip(names, present, np.diff(bars), strict=True))
