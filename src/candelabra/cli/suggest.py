"""``label suggest``: where a human label would teach a bundle most."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, out, table
from candelabra.cli.options import AsJson, Quiet, read, settings
from candelabra.errors import UsageError

__all__ = ["suggest"]

_SHOWN = 20


def suggest(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    write: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A .csv, .parquet or .jsonl file to edit and hand back.", show_default=False)
    ],
    timeframe: Annotated[str | None, typer.Option("--timeframe", metavar="TF", help="Only stretches of this timeframe.")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="What is labelled already is not asked again.")] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", help="Stretches of each symbol and timeframe.")] = 20,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Rank the stretches where a label teaches most: where hindsight disagrees, where it is a close call, where timeframes conflict."""
    import numpy as np

    from candelabra.bundles.segmenting import open_segmenter, regime_modes
    from candelabra.cli.progress import reporter
    from candelabra.regimes.learning_files import read_learning_set
    from candelabra.regimes.reading_files import write_columns
    from candelabra.regimes.suggest import suggest as rank

    tree = settings(paths=paths)
    with reporter(quiet=quiet) as progress:
        with progress.stage("open the bundle"):
            folder = bundle_folder(bundle)
            manifest, filtered = open_segmenter(folder, "filtered")
            smoothed = open_segmenter(folder, "smoothed")[1] if "smoothed" in regime_modes(folder) else None
        if timeframe is not None and timeframe not in filtered.readers:
            raise UsageError(f"--timeframe {timeframe}: the bundle {manifest.id} reads {', '.join(filtered.readers)}")
        candles = read(tree, progress)
        known = None if labels is None else read_learning_set(labels, candles=candles)
        made = []
        with progress.stage("look for what is worth a label", total=len(candles)):
            for one in candles:
                now = filtered.regimes(one, manifest.id)
                later = {} if smoothed is None else smoothed.regimes(one, manifest.id)
                for name in (timeframe,) if timeframe else now:
                    there = known is not None and (one.symbol, now[name].timeframe) in known.markets
                    own = known.consensus(one.symbol, name) if known is not None and there else None
                    made.append(rank(now[name], later.get(name), [r for n, r in now.items() if n != name], own, count))
                progress.advance(1)
    made = [one for one in made if len(one)]
    if made:
        columns = [one.columns() for one in made]
        write_columns({key: np.concatenate([c[key] for c in columns]) for key in columns[0]}, write)
    rows = sorted(((float(s), one, k) for one in made for k, s in enumerate(one.score)), key=lambda row: -row[0])
    if as_json:
        emit_json(
            "label suggest",
            {"bundle": manifest.id, "stretches": [_told(one, k) for _, one, k in rows], "out": str(write) if made else None},
        )
        return 0
    if not made:
        out().print("nothing is worth a label: every stretch is labelled already, or there is no reading of it")
        return 0
    from candelabra.candles.frame import format_time

    shown = [
        (
            one.symbol,
            one.timeframe.name,
            format_time(int(one.start[k])),
            format_time(int(one.end[k])),
            one.label[k],
            f"{score:.2f}",
            one.reason[k],
        )
        for score, one, k in rows[:_SHOWN]
    ]
    out().print(table(("symbol", "timeframe", "from (UTC)", "to", "guess", "score", "why"), shown, numbers=("score",)))
    out().print(
        f"{write}: {len(rows):,} stretches with the bundle's guesses: correct the labels and hand it back with --labels", soft_wrap=True
    )
    return 0


def _told(one: Any, k: int) -> dict[str, Any]:
    return {
        "symbol": one.symbol, "timeframe": one.timeframe.name, "start_ms": int(one.start[k]), "end_ms": int(one.end[k]),
        "label": one.label[k], "confidence": float(one.confidence[k]), "score": float(one.score[k]), "reason": one.reason[k],
    }  # fmt: skip
