"""``label``: are these labels fit to learn from, and making some with hindsight where there are none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.label_tables import show_review
from candelabra.cli.options import AsJson, Quiet, symbol_name
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.candles.frame import Candles
    from candelabra.regimes.learning_set import LearningSet
    from candelabra.regimes.segmentation import Segmentation

__all__ = ["app"]

app = typer.Typer(help="Labels of regimes: check, make, methods.", no_args_is_help=True)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labels: CSV, Parquet, JSON lines or JSON.", show_default=False)],
    candles: Annotated[
        list[str] | None,
        typer.Option("--candles", metavar="PATH", help="Candles they are of, and the split of these; repeatable."),
    ] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Where the file names none, as in BTC/USDT.")] = None,
    timeframe: Annotated[str | None, typer.Option("--timeframe", metavar="TF", help="Where the file names none, as in 1h.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", metavar="A,B,…", help="The vocabulary: no other label may occur.")] = None,
    form: Annotated[
        str | None, typer.Option("--form", metavar="FORM", help="segments, bars, change-points or label-studio (default: recognised).")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", metavar="ZONE", help="Of times without one, as in Europe/Berlin (default: UTC).")
    ] = None,
    opposite: Annotated[
        list[str] | None,
        typer.Option("--opposite", metavar="A:B", help="Labels that contradict each other (default: bullish:bearish); repeatable."),
    ] = None,
    shares: Annotated[
        str, typer.Option("--shares", metavar="A,B,C,D", help="Train, validation, calibration, test, with --candles.")
    ] = "0.6,0.1,0.1,0.2",
    write: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write what is without flaw as a segments table.")] = None,
    as_json: AsJson = False,
) -> int:
    """Look at a learning set before it is trusted: flaws, gaps, shares, durations, annotators, timeframes. Exit code 1 with findings.

    Notes (few segments, classes that are missing at one timeframe, segments across a cut) are told and leave the exit code at 0.
    """
    from candelabra.regimes.learning_files import examine_labels
    from candelabra.regimes.nesting import OPPOSITES
    from candelabra.regimes.review import review

    opposites = OPPOSITES if not opposite else tuple(_pair(one) for one in opposite)
    market, cuts = ([], ()) if not candles else _market(candles, shares)
    words = None if labels is None else tuple(word.strip() for word in labels.split(",") if word.strip())
    name = None if symbol is None else symbol_name(symbol)
    found = examine_labels(file, symbol=name, timeframe=timeframe, labels=words, form=form, time_zone=time_zone, candles=market)
    told = review(found.learning_set, found.flaws, candles=market, cuts_ms=cuts, opposites=opposites)
    if write is not None:
        found.learning_set.write(write)
    bad = told.verdict in ("doubtful", "unusable")
    if as_json:
        facts = {"file": str(file), "form": found.form, "rows": found.rows, "notes": list(found.learning_set.notes)}
        emit_json("label check", facts | told.as_dict() | ({"out": str(write)} if write else {}))
    else:
        for note in found.learning_set.notes:
            err().print(f"note: {note}", soft_wrap=True)
        out().print(
            f"{file}: {found.rows:,} rows of {found.form}, labels {', '.join(told.labels) or 'none'}\n", style="bold", soft_wrap=True
        )
        show_review(told)
        if write is not None:
            out().print(f"written: {write} ({len(found.learning_set):,} segments)", soft_wrap=True)
    return EXIT_FINDINGS if bad else 0


@app.command()
def make(
    paths: Annotated[list[str], typer.Argument(metavar="CANDLES...", help="Candle files, folders or globs.", show_default=False)],
    write: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .csv, .parquet or .jsonl file for the segments table.", show_default=False)
    ],
    method: Annotated[str, typer.Option("--method", metavar="NAME", help="A labeller (candelabra label methods).")] = "centred_window",
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", metavar="TF,…", help="To label, as in 1h,4h,1d (default: that of the candles).")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of the labeller, or of one timeframe as in 1d.window=20; repeatable."),
    ] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this symbol, as in BTC/USDT.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Label candles with hindsight, each timeframe for itself, and say of each segment when it could have been known."""
    from candelabra.cli.progress import reporter
    from candelabra.regimes.labeller import LABELLERS, new_labeller
    from candelabra.regimes.learning_set import LearningSet
    from candelabra.sources.files import read_candles

    LABELLERS.entry(method)
    if write.suffix.lower() not in (".csv", ".parquet", ".pq", ".jsonl", ".ndjson"):
        raise UsageError(f"labels are written as CSV, Parquet or JSON lines: call the file {write.stem}.csv, not {write.name}")
    wanted = [word.strip() for word in (timeframe or "").split(",") if word.strip()]
    values = _settings(assignments or [], wanted)
    general = new_labeller(method, values.get("", {}))
    with reporter(quiet=quiet) as progress:
        with progress.stage("read candles"):
            read = read_candles(paths, symbol=None if symbol is None else symbol_name(symbol))
        chosen = _at(read, wanted)
        made: list[Segmentation] = []
        with progress.stage(f"label with {method}", total=len(chosen)):
            for one in chosen:
                own = values.get(one.timeframe.name)
                labeller = general if own is None else new_labeller(method, values.get("", {}) | own)
                made.append(labeller.label(one))
                progress.advance(1)
    learning_set = LearningSet.of(made)
    learning_set.write(write)
    if as_json:
        emit_json("label make", _told(learning_set, method, str(general.reach)) | {"out": str(write)})
        return 0
    rows = [
        (one["symbol"], one["timeframe"], f"{one['segments']:,}", one["shares"], f"{one['median']:g}", one["hindsight_bars"])
        for one in _told(learning_set, method, "")["segmentations"]
    ]
    shown = [(*row[:3], ", ".join(f"{name} {share:.0%}" for name, share in row[3].items()), *row[4:]) for row in rows]
    columns = ("symbol", "timeframe", "segments", "share of time", "median bars", "longest wait (bars)")
    out().print(table(columns, shown, numbers=("segments", "median bars", "longest wait (bars)")))
    out().print(f"{write}: {len(learning_set):,} segments by {method}, whose labels read past a bar {general.reach}", soft_wrap=True)
    return 0


@app.command()
def methods(as_json: AsJson = False) -> int:
    """List the labellers: what each does, its settings with their defaults, how far past a bar it reads."""
    from candelabra.regimes.labeller import describe

    found = describe()
    if as_json:
        emit_json("label methods", {"methods": found})
        return 0
    rows = [(one["name"], one["about"], one["settings"], one["reads"]) for one in found]
    out().print(table(("method", "what", "settings (bars of its timeframe)", "reads past a bar"), rows))
    return 0


def _at(read: list[Candles], wanted: list[str]) -> list[Candles]:
    """Each symbol's candles at the timeframes wanted: its own where it has them, else made of the coarsest that can make them."""
    from candelabra.candles.resample import resample
    from candelabra.candles.timeframe import Timeframe

    if not wanted:
        return read
    chosen = []
    for symbol in dict.fromkeys(c.symbol for c in read):
        own = sorted((c for c in read if c.symbol == symbol), key=lambda c: c.timeframe)
        for name in wanted:
            frame = Timeframe(name)
            same = next((c for c in own if c.timeframe == frame), None)
            finer = [c for c in own if c.timeframe < frame and c.timeframe.divides_into(frame)]
            if same is None and not finer:
                there = ", ".join(c.timeframe.name for c in own)
                raise UsageError(f"{symbol} {frame} cannot be made of its {there} candles: give finer ones, or choose another timeframe")
            chosen.append(resample(finer[-1], frame) if same is None else same)
    return chosen


def _settings(assignments: list[str], frames: list[str]) -> dict[str, dict[str, str]]:
    """Settings by timeframe, "" for all."""
    found: dict[str, dict[str, str]] = {}
    for one in assignments:
        key, equals, value = one.partition("=")
        frame, dot, name = key.strip().rpartition(".")
        if not equals or not name:
            raise UsageError(f"--set {one}: write KEY=VALUE, as in window=48, or 1d.window=20 for one timeframe")
        if dot and frame not in frames:
            raise UsageError(
                f"--set {one}: {frame} is not among the timeframes to label: {', '.join(frames) or 'name them with --timeframe'}"
            )
        found.setdefault(frame, {})[name] = value.strip()
    return found


def _market(paths: list[str], shares: str) -> tuple[list[Candles], tuple[int, ...]]:
    """Candles, and the cuts of the split that a training on them would make."""
    from candelabra.sources.files import read_candles
    from candelabra.windows.splits import chronological

    try:
        parts = tuple(float(word) for word in shares.split(","))
    except ValueError as error:
        raise UsageError(f"--shares {shares}: give four numbers that sum to 1, as in 0.6,0.1,0.1,0.2") from error
    candles = read_candles(paths)
    finest = [min((c for c in candles if c.symbol == s), key=lambda c: c.timeframe) for s in dict.fromkeys(c.symbol for c in candles)]
    return candles, chronological([c.close_time for c in finest], parts, purge_ms=0).cuts_ms


def _pair(text: str) -> tuple[str, str]:
    first, colon, second = text.partition(":")
    if not colon or not first.strip() or not second.strip():
        raise UsageError(f"--opposite {text}: write two labels with a colon between them, as in up:down")
    return first.strip(), second.strip()


def _told(learning_set: LearningSet, method: str, reach: str) -> dict[str, Any]:
    from candelabra.regimes.review import review

    found = review(learning_set)
    told = []
    for one, source in zip(found.segmentations, learning_set.segmentations, strict=True):
        middle = float(sorted(source.bars.tolist())[len(source) // 2]) if len(source) else 0.0
        told.append(
            {"symbol": one.symbol, "timeframe": one.timeframe, "segments": one.segments, "shares": one.shares, "median": middle,
             "hindsight_bars": one.hindsight_bars}
        )  # fmt: skip
    facts = {"method": method, "reads": reach, "segments": len(learning_set), "fingerprint": found.fingerprint}
    return facts | {"purge_ms": found.purge_ms, "segmentations": told}
