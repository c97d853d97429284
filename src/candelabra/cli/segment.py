"""``segment``: the regimes of candles at every timeframe a bundle was taught, and the training that teaches them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.options import AsJson, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.candles.frame import Candles
    from candelabra.config.tree import Config
    from candelabra.evaluation.regimes import TimeframeVerdict
    from candelabra.models.segmenter import Segmenter
    from candelabra.progress import Reporter
    from candelabra.regimes.anomaly_alarms import Alarm
    from candelabra.regimes.consistency import Consistency
    from candelabra.regimes.reading import RegimeReading
    from candelabra.regimes.segment_table import SegmentTable

__all__ = ["segment", "show_verdict", "train_labels"]

_ALARMS = 15
_SHOWN = ("macro_f1", "covering", "boundary_f1_5", "delay_median", "missed", "flips", "ece", "brier")


def segment(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="filtered (known at each close) or smoothed (hindsight, for charts and labels).")
    ] = "filtered",
    lag: Annotated[
        int | None,
        typer.Option("--lag", metavar="BARS", help="Say the regime of each bar so many bars later, more surely (bars of each timeframe)."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Segments as .csv, .parquet or .jsonl: a learning set.")
    ] = None,
    bars: Annotated[
        Path | None, typer.Option("--bars", metavar="FILE", help="A row a bar: label, probabilities (.csv, .parquet or .jsonl).")
    ] = None,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="FILE", help="A page (.html) of regimes under candles.")] = None,
    anomalies: Annotated[bool, typer.Option("--anomalies", help="Also list the bars that are out of the ordinary, with reasons.")] = False,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Say which regime each timeframe is in, since when, how sure that is, and how long it may last."""
    from candelabra.cli.progress import reporter

    if mode not in ("filtered", "smoothed"):
        raise UsageError(f"--mode {mode}: choose filtered or smoothed")
    if lag is not None and lag < 1:
        raise UsageError(f"--lag {lag}: give a number of bars of 1 or more, or leave it out: a regime is then said at the close of its bar")
    if lag is not None and mode == "smoothed":
        raise UsageError("--lag is for filtered regimes: smoothed ones read to the end of the candles")
    tree = settings(paths=paths, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        from candelabra.bundles.segmenting import open_segmenter
        from candelabra.models.regime_inputs import candles_at
        from candelabra.regimes.reading_files import bar_columns, segment_columns, write_columns

        with progress.stage("open the bundle"):
            manifest, segmenter = open_segmenter(bundle_folder(bundle), mode)  # type: ignore[arg-type]
        segmenter = segmenter if lag is None else segmenter.late(lag)
        candles = read(tree, progress)
        with progress.stage("segment"):
            found = {c.symbol: segmenter.regimes(c, manifest.id) for c in candles}
            short = [_history(segmenter, c) for c in candles]
            candles_of = {c.symbol: {name: candles_at(c, one.timeframe) for name, one in found[c.symbol].items()} for c in candles}
        alarmed, watched = _alarms(bundle_folder(bundle), candles, candles_of, progress) if anomalies else ([], [])
    told = [row for regimes in found.values() for row in _newest(segmenter, regimes)]
    readings = [one for regimes in found.values() for one in regimes.values()]
    across = {symbol: _across(regimes) for symbol, regimes in found.items()}
    if write is not None:
        write_columns(segment_columns(_tables(segmenter, found)), write)
    if bars is not None:
        write_columns(bar_columns(readings, next(iter(across.values())) if len(across) == 1 else None), bars)
    if picture is not None:
        _draw(segmenter, found, [c for own in candles_of.values() for c in own.values()], alarmed, picture)
    unseen = [symbol for symbol in found if symbol not in manifest.symbols]
    if as_json:
        files: dict[str, Any] = {key: str(path) if path else None for key, path in (("out", write), ("bars", bars), ("picture", picture))}
        files["across"] = {symbol: str(one.words[-1]) for symbol, one in across.items() if one is not None and len(one)}
        facts = {
            "bundle": manifest.id,
            "mode": mode,
            "lag": lag or 0,
            "newest": told,
            "symbols_never_seen": unseen,
            "history": short,
        } | files
        emit_json("segment", facts | ({"anomalies": [one.to_dict() for one in alarmed]} if anomalies else {}))
        return 0
    _show_newest(told, mode, lag)
    if anomalies:
        _show_alarms(alarmed, watched)
    for symbol, words in across.items():
        if words is not None and len(words):
            out().print(f"{symbol}: {words.words[-1]}", soft_wrap=True)
    for path, what in ((write, "segments"), (bars, "bars"), (picture, "picture")):
        if path is not None:
            out().print(f"{what}: {path}", soft_wrap=True)
    for one in short:
        if one["bars"] < one["needed"] or write is not None or bars is not None:
            err().print(f"note: {_too_little(one)}", soft_wrap=True)
    if unseen:
        err().print(
            f"note: this bundle never saw {', '.join(unseen)}: it learned from {', '.join(manifest.symbols)}, and nobody has measured what "
            "its regimes are worth elsewhere",
            soft_wrap=True,
        )
    if lag is not None:
        err().print(f"note: {_lateness(segmenter, lag)}", soft_wrap=True)
    if mode == "smoothed":
        err().print("note: smoothed regimes read later bars: they are for charts and for labelling, never for trading", soft_wrap=True)
    if manifest.simulated:
        err().print("note: this bundle learned from a simulated market; what it says means nothing for a real one")
    return 0


def train_labels(tree: Config, *, folder: Path | None, as_json: bool, quiet: bool) -> int:
    """Train on the learning set ``regimes.labels`` names and tell how it went."""
    from candelabra.cli.progress import reporter
    from candelabra.regimes.learning_files import read_learning_set

    with reporter(quiet=quiet) as progress:
        candles = read(tree, progress)
        with progress.stage("read labels"):
            learning_set = read_learning_set(tree.regimes.labels, candles=candles)
        from candelabra.pipeline.regimes import train_regimes

        run = train_regimes(candles, learning_set, tree, folder=folder, progress=progress)
    if as_json:
        verdicts = {mode: [one.as_dict() for one in told] for mode, told in run.verdicts.items()}
        facts = {"run": str(run.folder), "bundle": str(run.bundle), "id": run.manifest.id, "trials": run.trials}
        emit_json("train", facts | {"verdicts": verdicts})
        return 0
    for mode, told in run.verdicts.items():
        for verdict in told:
            show_verdict(mode, verdict)
    out().print(f"bundle: {run.bundle}", soft_wrap=True)
    out().print(f"took:   {run.seconds:.0f} s; this test range has been opened {run.openings} times, by {run.trials} configurations")
    out().print(f"next:   candelabra segment {shlex.join([str(run.bundle), *tree.candles.paths])}", soft_wrap=True)
    return 0


def show_verdict(mode: str, verdict: TimeframeVerdict) -> None:
    """A table of a timeframe's rows, and the comparisons in words."""
    rows = [
        (row.method if row.causal or mode == "smoothed" else f"{row.method} (hindsight)", *(_figure(row.mean(name)) for name in _SHOWN))
        for row in verdict.rows
    ]
    title = f"{verdict.timeframe} {mode}: {verdict.train_segments:,} training segments, {verdict.test_segments:,} in the test range"
    columns = ("", "macro-F1", "covering", "boundary F1 5 %", "delay", "missed", "flips/1000", "ECE", "Brier")
    out().print(table(columns, rows, title=title, numbers=columns[1:]))
    for rival, figure, d in verdict.differences:
        word = "clearly above" if d.low > 0 else "clearly below" if d.high < 0 else "not to be told from"
        name = {"macro_f1": "macro-F1", "covering": "covering"}[figure]
        out().print(f"  {name}: {word} the {rival} ({d.value:+.3f}, 95 % {d.low:+.3f} to {d.high:+.3f})", soft_wrap=True)
    changed, looked = verdict.revised
    if looked:
        out().print(f"  revised: {changed} of {looked} labels became another after their bar was the newest ({changed / looked:.0%})")
    for note in verdict.notes:
        err().print(f"note: {note}", soft_wrap=True)


def _draw(
    segmenter: Segmenter, found: dict[str, dict[str, RegimeReading]], candles: list[Candles], alarmed: list[Alarm], path: Path
) -> None:
    from candelabra.disk import write_atomically
    from candelabra.report.regime_page import regime_page

    readings = [one for regimes in found.values() for one in regimes.values()]
    write_atomically(path, regime_page(readings, candles, _tables(segmenter, found), alarmed).encode())


def _alarms(bundle: Path, given: list[Candles], found: dict[str, dict[str, Candles]], progress: Reporter) -> tuple[list[Alarm], list[str]]:
    """All alarms, oldest first, and what is promised of each symbol and timeframe."""
    from candelabra.bundles.watching import load_watches

    watches = load_watches(bundle)
    predictor = None
    if any(watch.by_forecasts for watch in watches.values()):
        from candelabra.bundles.predictor import Predictor

        with progress.stage("open the forecasts"):
            predictor = Predictor.open(bundle)
    raised: list[Alarm] = []
    words = []
    with progress.stage("look for anomalies"):
        for symbol, own in found.items():
            for name, candles in own.items():
                watch = watches.get((symbol, name))
                if watch is None:
                    words.append(f"{symbol} {name}: not watched, for the bundle never learned what is usual there")
                    continue
                forecasts = None
                if watch.by_forecasts and predictor is not None:
                    from candelabra.bundles.bar_forecasts import forecasts_of

                    forecasts = forecasts_of(predictor, candles, [c for c in given if c.symbol == symbol])
                raised += watch.alarms(candles, forecasts=forecasts)
                words.append(f"{symbol} {name}: set for {watch.words(len(candles))}")
    return sorted(raised, key=lambda alarm: alarm.close_ms), words


def _show_alarms(raised: list[Alarm], words: list[str]) -> None:
    rows = [(one.symbol, one.timeframe, one.reason) for one in raised[-_ALARMS:]]
    title = f"out of the ordinary: {len(raised):,} bars" + (f", the newest {_ALARMS}" if len(raised) > _ALARMS else "")
    out().print(table(("symbol", "timeframe", "when and why"), rows, title=title))
    for line in words:
        err().print(f"note: {line}", soft_wrap=True)


def _history(segmenter: Segmenter, candles: Candles) -> dict[str, Any]:
    """How many base bars there are of a symbol, how many are needed, and of how many of the first the regimes were said with fewer."""
    from candelabra.models.regime_inputs import candles_at

    there, needed = len(candles_at(candles, segmenter.inputs.base)), segmenter.needs
    return {"symbol": candles.symbol, "timeframe": segmenter.base, "bars": there, "needed": needed, "too_little": min(there, needed - 1)}


def _too_little(history: dict[str, Any]) -> str:
    """What too short a history means, for people."""
    bars, needed, few = f"{history['bars']:,} {history['timeframe']} bars", history["needed"], history["too_little"]
    whose = "all of them" if few == history["bars"] else f"the first {few:,} bars"
    return (
        f"{history['symbol']} has {bars}, and {needed:,} are needed until it no longer matters where the history begins: the regimes of "
        f"{whose} were said with too little history, and earlier candles would change their chances"
    )


def _newest(segmenter: Segmenter, regimes: dict[str, RegimeReading]) -> list[dict[str, Any]]:
    """What is said of the newest bar of each timeframe, or of the newest one that a lag lets speak of."""
    from candelabra.candles.frame import format_time

    rows = []
    for name, one in regimes.items():
        row: dict[str, Any] = {"symbol": one.symbol, "timeframe": name, "label": None, "since": "-", "age": 0}
        row |= {"probability": None, "probabilities": None, "as_of_ms": None, "known_at_ms": None, "expected_remaining": None}
        rows.append(row)
        at = len(one) - one.lag - 1
        if at < 0:  # not one bar of a coarse timeframe has closed, or no more than the lag
            continue
        row["as_of_ms"], row["known_at_ms"] = int(one.close_time[at]), int(one.said_at[at])
        age = int(one.age[at])
        if age:
            code, p = int(one.code[at]), one.probabilities[at]
            chances = {label: float(v) for label, v in zip(one.labels, p, strict=True)} if np.isfinite(p).all() else None
            row |= {"label": one.labels[code], "since": format_time(int(one.open_time[at + 1 - age])), "age": age, "probabilities": chances}
            row |= {"probability": None if chances is None else chances[one.labels[code]]}
            row |= {"expected_remaining": segmenter.readers[name].decoder.expected_remaining(code, age)}
    return rows


def _show_newest(told: list[dict[str, Any]], mode: str, lag: int | None) -> None:
    from candelabra.candles.frame import format_time

    columns = ["symbol", "timeframe", "regime", "since (UTC)", "bars", "probability", "expected further bars"]
    if lag is not None:
        columns.insert(2, "bar that closed (UTC)")
    rows = []
    for row in told:
        left = "-" if row["expected_remaining"] is None else f"{row['expected_remaining']:.0f}"
        cells = [row["symbol"], row["timeframe"], row["label"] or "-", row["since"], f"{row['age']:,}", _share(row["probability"]), left]
        if lag is not None:
            cells.insert(2, "-" if row["as_of_ms"] is None else format_time(row["as_of_ms"]))
        rows.append(tuple(cells))
    title = f"{mode} regimes" + ("" if lag is None else f", {_bars(lag)} late")
    out().print(table(tuple(columns), rows, title=title, numbers=("bars", "probability", "expected further bars")))


def _lateness(segmenter: Segmenter, lag: int) -> str:
    """What a lag means, and where its chances are not exact."""
    short = [
        name for name, one in segmenter.readers.items() if one.decoder.settings.kind == "fixed_lag" and lag > one.decoder.durations.shortest
    ]
    text = (
        f"what is said of a bar was known {_bars(lag)} after its close (`known_at`), and stays; of the last {_bars(lag)} it is provisional"
    )
    if short:
        text += f"; {', '.join(short)}: exact only where no regime is shorter than {_bars(lag)}, and in the training labels some are"
    return text


def _bars(count: int) -> str:
    return f"{count:,} bar" + ("" if count == 1 else "s")


def _tables(segmenter: Segmenter, found: dict[str, dict[str, RegimeReading]]) -> list[SegmentTable]:
    from candelabra.regimes.segment_table import segment_rows

    return [segment_rows(one, segmenter.readers[name].decoder) for regimes in found.values() for name, one in regimes.items()]


def _across(regimes: dict[str, RegimeReading]) -> Consistency | None:
    """How the timeframes of one symbol lie in each other; None where there is one, or where they know the future."""
    from candelabra.candles.hindsight import Hindsight
    from candelabra.regimes.consistency import consistency

    readings = list(regimes.values())
    return consistency(readings) if len(readings) > 1 and not any(isinstance(one, Hindsight) for one in readings) else None


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
