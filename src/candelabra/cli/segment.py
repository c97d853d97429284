"""``segment``: the regimes of candles at every timeframe a bundle was taught, and the training that teaches them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.options import AsJson, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.config.tree import Config
    from candelabra.evaluation.regimes import TimeframeVerdict
    from candelabra.models.segmenter import Regimes, Segmenter
    from candelabra.regimes.anomaly_alarms import Alarm

__all__ = ["segment", "train_labels"]

_ALARMS = 15
_SHOWN = ("macro_f1", "covering", "boundary_f1_5", "delay_median", "missed", "flips", "ece", "brier")


def segment(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    mode: Annotated[
        str, typer.Option("--mode", metavar="MODE", help="filtered (known at each close) or smoothed (hindsight, for charts and labels).")
    ] = "filtered",
    write: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Segments as .csv, .parquet or .jsonl: a learning set.")
    ] = None,
    bars: Annotated[
        Path | None, typer.Option("--bars", metavar="FILE", help="A row a bar: label and probabilities (.csv, .parquet).")
    ] = None,
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
    tree = settings(paths=paths, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        from candelabra.bundles.segmenting import open_segmenter

        with progress.stage("open the bundle"):
            manifest, segmenter = open_segmenter(bundle_folder(bundle), mode)  # type: ignore[arg-type]
        candles = read(tree, progress)
        with progress.stage("segment"):
            found = {c.symbol: segmenter.regimes(c) for c in candles}
    alarmed, watched = _alarms(bundle_folder(bundle), found) if anomalies else ([], [])
    told = [row for regimes in found.values() for row in _newest(segmenter, regimes)]
    if write is not None:
        _write_segments(found, write)
    if bars is not None:
        _write_bars(found, bars)
    unseen = [symbol for symbol in found if symbol not in manifest.symbols]
    if as_json:
        files = {"out": str(write) if write else None, "bars": str(bars) if bars else None}
        facts = {"bundle": manifest.id, "mode": mode, "newest": told, "symbols_never_seen": unseen} | files
        emit_json("segment", facts | ({"anomalies": [one.to_dict() for one in alarmed]} if anomalies else {}))
        return 0
    columns = ("symbol", "timeframe", "regime", "since (UTC)", "bars", "probability", "expected further bars")
    rows = [
        (
            row["symbol"], row["timeframe"], row["label"] or "-", row["since"], f"{row['age']:,}", _share(row["probability"]),
            "-" if row["expected_remaining"] is None else f"{row['expected_remaining']:.0f}",
        )
        for row in told
    ]  # fmt: skip
    out().print(table(columns, rows, title=f"{mode} regimes", numbers=("bars", "probability", "expected further bars")))
    if anomalies:
        _show_alarms(alarmed, watched)
    for path, what in ((write, "segments"), (bars, "bars")):
        if path is not None:
            out().print(f"{what}: {path}", soft_wrap=True)
    if unseen:
        err().print(
            f"note: this bundle never saw {', '.join(unseen)}: it learned from {', '.join(manifest.symbols)}, and nobody has measured what "
            "its regimes are worth elsewhere",
            soft_wrap=True,
        )
    if mode == "smoothed":
        err().print("note: smoothed regimes read later bars: they are for charts and for labelling, never for trading", soft_wrap=True)
    if manifest.simulated:
        err().print("note: this bundle learned from a simulated market; what it says means nothing for a real one")
    return 0


def train_labels(tree: Config, labels: Path, *, folder: Path | None, as_json: bool, quiet: bool) -> int:
    """Train on a learning set and tell how it went."""
    from candelabra.cli.progress import reporter
    from candelabra.regimes.learning_files import read_learning_set

    with reporter(quiet=quiet) as progress:
        candles = read(tree, progress)
        with progress.stage("read labels"):
            learning_set = read_learning_set(labels, candles=candles)
        from candelabra.pipeline.regimes import train_regimes

        run = train_regimes(candles, learning_set, folder=folder, progress=progress)
    if as_json:
        verdicts = {mode: [one.as_dict() for one in told] for mode, told in run.verdicts.items()}
        facts = {"run": str(run.folder), "bundle": str(run.bundle), "id": run.manifest.id, "trials": run.trials}
        emit_json("train", facts | {"verdicts": verdicts})
        return 0
    for mode, told in run.verdicts.items():
        for verdict in told:
            _show_verdict(mode, verdict)
    out().print(f"bundle: {run.bundle}", soft_wrap=True)
    out().print(f"took:   {run.seconds:.0f} s; this test range has been opened {run.openings} times, by {run.trials} configurations")
    out().print(f"next:   candelabra segment {run.bundle} {' '.join(tree.candles.paths)}", soft_wrap=True)
    return 0


def _show_verdict(mode: str, verdict: TimeframeVerdict) -> None:
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
    for note in verdict.notes:
        err().print(f"note: {note}", soft_wrap=True)


def _alarms(bundle: Path, found: dict[str, dict[str, Regimes]]) -> tuple[list[Alarm], list[str]]:
    """All alarms, oldest first, and what is promised of each symbol and timeframe."""
    from candelabra.bundles.watching import load_watches

    watches = load_watches(bundle)
    raised: list[Alarm] = []
    words = []
    for symbol, regimes in found.items():
        for name, one in regimes.items():
            watch = watches.get((symbol, name))
            if watch is None:
                words.append(f"{symbol} {name}: not watched, for the bundle never learned what is usual there")
                continue
            raised += watch.alarms(one.candles)
            words.append(f"{symbol} {name}: set for {watch.words(len(one.candles))}")
    return sorted(raised, key=lambda alarm: alarm.close_ms), words


def _show_alarms(raised: list[Alarm], words: list[str]) -> None:
    rows = [(one.symbol, one.timeframe, one.reason) for one in raised[-_ALARMS:]]
    title = f"out of the ordinary: {len(raised):,} bars" + (f", the newest {_ALARMS}" if len(raised) > _ALARMS else "")
    out().print(table(("symbol", "timeframe", "when and why"), rows, title=title))
    for line in words:
        err().print(f"note: {line}", soft_wrap=True)


def _newest(segmenter: Segmenter, regimes: dict[str, Regimes]) -> list[dict[str, Any]]:
    from candelabra.candles.frame import format_time

    rows = []
    for name, one in regimes.items():
        known = np.flatnonzero(one.code >= 0)
        row: dict[str, Any] = {"symbol": one.candles.symbol, "timeframe": name, "label": None, "since": "-", "age": 0}
        row |= {"probability": None, "probabilities": None, "as_of_ms": int(one.candles.close_time[-1]), "expected_remaining": None}
        if len(known) and known[-1] == len(one.code) - 1:
            code = int(one.code[-1])
            changed = np.flatnonzero(one.code != code)
            first = int(changed[-1]) + 1 if len(changed) else 0
            age, p = len(one.code) - first, one.probabilities[-1]
            chances = {label: float(v) for label, v in zip(one.labels, p, strict=True)} if np.isfinite(p).all() else None
            row |= {
                "label": one.labels[code],
                "since": format_time(int(one.candles.open_time[first])),
                "age": age,
                "probabilities": chances,
            }
            row |= {"probability": None if chances is None else chances[one.labels[code]]}
            row |= {"expected_remaining": segmenter.readers[name].decoder.expected_remaining(code, age)}
        rows.append(row)
    return rows


def _write_segments(found: dict[str, dict[str, Regimes]], path: Path) -> None:
    """A learning set of what was said; confidence: mean probability of the label shown."""
    from candelabra.regimes.learning_set import LearningSet
    from candelabra.regimes.segmentation import Segmentation

    made = []
    for regimes in found.values():
        for one in regimes.values():
            plain = Segmentation.of_bars(one.candles, one.labels, one.code)
            bars = plain.on(one.candles)
            shown = np.where(bars.code >= 0, np.nan_to_num(one.probabilities)[np.arange(len(bars)), np.maximum(bars.code, 0)], 0.0)
            inside = bars.segment >= 0
            bars_of = np.bincount(bars.segment[inside], minlength=len(plain))
            sure = np.clip(np.bincount(bars.segment[inside], shown[inside], len(plain)) / np.maximum(bars_of, 1), 0, 1)
            columns = (plain.start, plain.end, plain.code, sure, plain.known_at)
            made.append(Segmentation.of(plain.symbol, plain.timeframe, plain.labels, *columns, annotator="candelabra"))
    LearningSet.of(made).write(path)


def _write_bars(found: dict[str, dict[str, Regimes]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    from candelabra.disk import write_atomically

    if path.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"bars are written as CSV or Parquet: call the file {path.stem}.csv, not {path.name}")
    names = list(dict.fromkeys(label for regimes in found.values() for one in regimes.values() for label in one.labels))
    parts = []
    for regimes in found.values():
        for name, one in regimes.items():
            n, stamp = len(one.code), pa.timestamp("ms", "UTC")
            words = np.array([*one.labels, None], object)[np.where(one.code >= 0, one.code, len(one.labels))]
            columns: dict[str, Any] = {"symbol": [one.candles.symbol] * n, "timeframe": [name] * n}
            columns |= {"open_time": pa.array(one.candles.open_time, stamp), "close_time": pa.array(one.candles.close_time, stamp)}
            columns |= {"label": pa.array(words, pa.string())}
            for label in names:
                own = one.probabilities[:, one.labels.index(label)] if label in one.labels else np.full(n, np.nan)
                columns[f"p_{label}"] = pa.array(own, pa.float64(), from_pandas=True)
            parts.append(pa.table(columns))
    sink = pa.BufferOutputStream()
    whole = pa.concat_tables(parts)
    if path.suffix.lower() == ".csv":
        pyarrow.csv.write_csv(whole, sink)
    else:
        pyarrow.parquet.write_table(whole, sink, compression="zstd")
    write_atomically(path, sink.getvalue().to_pybytes())


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
