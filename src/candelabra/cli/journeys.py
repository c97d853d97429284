"""``demo``, ``train`` and ``evaluate``: the long journeys, ending in a short verdict and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.options import (
    AsJson,
    Assignments,
    ConfigFile,
    OnBad,
    Paths,
    Quiet,
    Size,
    Symbols,
    Timeframes,
    read,
    settings,
)
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.evaluation.verdict import VerdictRow

__all__ = ["demo", "evaluate", "train"]

Folder = Annotated[Path | None, typer.Option("--folder", metavar="FOLDER", help="Where this run goes (default: a new one in runs/).")]


def train(
    paths: Paths = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    size: Size = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    on_bad: OnBad = None,
    folder: Folder = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with an interrupted run, with the settings it has.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Learn from candles, judge against baselines, write a report and a sealed bundle."""
    from candelabra.cli.progress import reporter

    if resume is not None:
        if config or assignments or size or folder:
            raise UsageError("--resume goes on with the settings of its run: leave --config, --set, --size and --folder out")
        if not (resume / "config.toml").is_file():
            raise UsageError(f"{resume} is no run folder: it has no config.toml; give a folder such as runs/<time>-arms-<hash>")
        tree = _resumed(resume, paths)
    else:
        tree = settings(config, assignments, size=size, paths=paths, symbols=symbols, timeframes=timeframes, on_bad=on_bad)
    with reporter(quiet=quiet) as progress:
        candles = read(tree, progress)
        from candelabra.pipeline.train import train as journey

        result = journey(tree, candles, folder=folder, progress=progress, resume=resume)
    return _finish("train", result, as_json, paths=tree.candles.paths)


def demo(
    candles: Annotated[
        list[str] | None, typer.Option("--candles", metavar="PATH", help="Real candles instead of a simulated market; repeatable.")
    ] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    size: Size = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    folder: Folder = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    more: Annotated[list[str] | None, typer.Argument(metavar="[PATHS]...", hidden=True)] = None,
) -> int:
    """The whole journey in minutes, on a seeded simulated market whose truth is known, or on your --candles. No network."""
    from candelabra.cli.progress import reporter

    if more and not candles:
        raise UsageError(f"demo takes files by --candles, as in `candelabra demo --candles {more[0]}`")
    paths = [*(candles or ()), *(more or ())]
    tree = settings(config, assignments, size=size, paths=paths, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        from candelabra.pipeline.demo import demo as journey

        result = journey(tree, read(tree, progress) if tree.candles.paths else None, folder=folder, progress=progress)
    return _finish("demo", result, as_json, paths=tree.candles.paths)


def evaluate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    walk_forward: Annotated[bool, typer.Option("--walk-forward", help="Refit fold by fold over the candles given.")] = False,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    folder: Folder = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Judge a sealed bundle on candles later than those it learned from."""
    from candelabra.cli.progress import reporter

    tree = settings(paths=paths, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        from candelabra.bundles.verify import require_sealed

        place = bundle_folder(bundle)
        require_sealed(place)
        candles = read(tree, progress)
        from candelabra.pipeline.evaluate import evaluate_bundle

        result = evaluate_bundle(place, candles, folder=folder, walk_forward=walk_forward, progress=progress)
    return _finish("evaluate", result, as_json, paths=paths)


def _resumed(run: Path, paths: Sequence[str] | None) -> Any:
    from dataclasses import replace

    from candelabra.config.text import from_toml

    file = run / "config.toml"
    tree = from_toml(file.read_text(encoding="utf-8"), str(file))
    return replace(tree, candles=replace(tree.candles, paths=tuple(paths))) if paths else tree


def _finish(command: str, result: Any, as_json: bool, *, paths: Sequence[str]) -> int:
    """The verdict, where everything is, and the next commands."""
    if as_json:
        places = {name: getattr(result, name, None) for name in ("folder", "bundle", "report")}
        emit_json(
            command,
            {
                **{name: None if place is None else str(place) for name, place in places.items()},
                "verdict": [row.as_dict() for row in result.verdict],
                "seconds": dict(result.seconds),
                "notes": list(result.notes),
            },
        )
        return 0
    console = out()
    console.print(_verdict(result.verdict))
    for note in result.notes:
        console.print(f"note: {note}")
    if getattr(result, "report", None):
        console.print(f"report: {result.report}")
    if getattr(result, "bundle", None):
        console.print(f"bundle: {result.bundle}")
    console.print(f"took:   {sum(result.seconds.values()):.0f} s ({', '.join(f'{n} {s:.0f} s' for n, s in result.seconds.items())})")
    if command != "evaluate" and getattr(result, "bundle", None):
        files = " ".join(paths) or "CANDLES"
        err().print("next:   open the report in a browser; then")
        err().print(f"        candelabra forecast {result.bundle} {files}")
        err().print(f"        candelabra evaluate {result.bundle} LATER_CANDLES")
        if command == "demo" and not paths:
            err().print("        candelabra demo --candles YOUR_CANDLES.csv")
    return 0


def _verdict(rows: Sequence[VerdictRow]) -> Any:
    from rich.text import Text

    def words(row: VerdictRow) -> Text:
        style = "bold magenta" if row.flag else {True: "green", False: "red", None: ""}[row.good]
        return Text(row.words, style=style)

    cells = [(row.horizon, row.what, row.figure, row.interval, words(row)) for row in rows]
    return table(("horizon", "what", "figure", "95 % interval", "verdict"), cells, title="Verdict", numbers=("figure", "95 % interval"))
