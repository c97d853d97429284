"""``demo``, ``train`` and ``evaluate``: the long journeys, ending in a short verdict and what to do next."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
    Since,
    Size,
    Symbols,
    Timeframes,
    Until,
    read,
    settings,
)
from candelabra.errors import UsageError

if TYPE_CHECKING:
    from candelabra.config.tree import Config
    from candelabra.evaluation.verdict import VerdictRow

__all__ = ["demo", "evaluate", "train"]

_R2_OVER: Final = "volatility R2 over"

Out = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="Where this run goes (default: a new folder in runs/).")]


def train(
    paths: Paths = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    size: Size = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    on_bad: OnBad = None,
    since: Since = None,
    until: Until = None,
    start_from: Annotated[
        str | None,
        typer.Option("--start-from", metavar="BUNDLE", help="Begin from its weights; it must have learned from earlier candles."),
    ] = None,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="FILE", help="A learning set: segments with labels.")] = None,
    regimes_only: Annotated[
        bool,
        typer.Option(
            "--regimes-only",
            help="Learn the labels of --labels, and no forecast. Network: --set regimes.encoder=convolution (default) or transformer.",
        ),
    ] = False,
    max_flips: Annotated[
        float | None, typer.Option("--max-flips", metavar="N", help="Of --labels: changes of regime in 1,000 bars at most, on validation.")
    ] = None,
    max_delay: Annotated[
        float | None, typer.Option("--max-delay", metavar="BARS", help="Of --labels: median bars until a change is seen, at most.")
    ] = None,
    folder: Out = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with an interrupted run, with the settings it has.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Learn from candles, judge against baselines, write a report and a sealed bundle."""
    from candelabra.cli.progress import reporter

    learning: dict[str, Any] = {"regimes.labels": labels and str(labels), "regimes.only": regimes_only or None}
    learning |= {"regimes.bounds.flips": max_flips, "regimes.bounds.delay": max_delay}
    if resume is not None:
        if any((config, assignments, size, folder, since, until, start_from, regimes_only, max_flips, max_delay)):
            raise UsageError("--resume goes on with the settings of its run: give it alone, or with the files of the candles and labels")
        tree = _resumed(resume, paths, labels)
    else:
        tree = settings(
            config, assignments, size=size, paths=paths, symbols=symbols, timeframes=timeframes, on_bad=on_bad, since=since, until=until,
            **learning, **{"training.start_from": start_from},
        )  # fmt: skip
    if tree.regimes.only:
        from candelabra.cli.segment import train_labels

        _require_regimes(tree, assignments or (), start_from)
        with _resumable(resume or folder):
            return train_labels(tree, folder=resume or folder, as_json=as_json, quiet=quiet)
    if (max_flips is not None or max_delay is not None) and not tree.regimes.labels:
        raise UsageError("--max-flips and --max-delay bound what is said of regimes: give their labels too, as in --labels FILE")
    options: dict[str, Any] = {"--config": config, "--set": assignments, "--size": size, "--symbol": symbols, "--timeframe": timeframes}
    options |= {"--on-bad": on_bad, "--since": since, "--until": until, "--start-from": start_from, "--labels": labels}
    options |= {"--max-flips": max_flips, "--max-delay": max_delay}
    with reporter(quiet=quiet) as progress, _resumable(folder):
        candles = read(tree, progress)
        from candelabra.pipeline.material import advice
        from candelabra.pipeline.train import train as journey

        for line in advice(candles, tree):
            progress.note(line)
        commands = (_command("train", paths or (), options),)
        learning_set = None
        if tree.regimes.labels:
            from candelabra.regimes.learning_files import read_learning_set

            with progress.stage("read labels"):
                learning_set = read_learning_set(Path(tree.regimes.labels), candles=candles)
        result = journey(tree, candles, folder=folder, progress=progress, resume=resume, commands=commands, labels=learning_set)
    return _finish("train", result, as_json, paths=tree.candles.paths)


def demo(
    candles: Annotated[
        list[str] | None, typer.Option("--candles", metavar="PATH", help="Real candles instead of a simulated market; repeatable.")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[MORE]...", help="More paths after --candles.", show_default=False)] = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    size: Size = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    since: Since = None,
    until: Until = None,
    live: Annotated[
        bool, typer.Option("--live", help="Then follow an emulated exchange live, at 60 times the speed, and draw what happened.")
    ] = False,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Of --live: how long it is followed.")] = 90.0,
    folder: Out = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """The whole journey in minutes, on a seeded simulated market whose truth is known, or on your --candles. No network."""
    from candelabra.cli.progress import reporter

    if more and not candles:
        raise UsageError(f"demo takes files by --candles, as in `candelabra demo --candles {more[0]}`")
    paths = [*(candles or ()), *(more or ())]
    tree = settings(config, assignments, size=size, paths=paths, symbols=symbols, timeframes=timeframes, since=since, until=until)
    if live:
        if paths:
            raise UsageError("demo --live follows an emulated exchange: leave --candles out; `candelabra live` follows a real one")
        return _live_demo(tree, seconds, folder, as_json=as_json, quiet=quiet)
    options = {"--config": config, "--set": assignments, "--size": size, "--symbol": symbols, "--timeframe": timeframes}
    options |= {"--since": since, "--until": until}
    with reporter(quiet=quiet) as progress, _resumable(folder):
        if paths:
            given = read(tree, progress)
            from candelabra.pipeline.material import advice
            from candelabra.pipeline.train import train as learn

            for line in advice(given, tree):
                progress.note(line)
            commands = (_command("demo --candles", paths, options),)
            result = learn(tree, given, folder=folder, progress=progress, commands=commands)
        else:
            from candelabra.pipeline.demo import demo as journey

            result = journey(tree, folder=folder, progress=progress)
    return _finish("demo", result, as_json, paths=paths)


def _live_demo(tree: Config, seconds: float, folder: Path | None, *, as_json: bool, quiet: bool) -> int:
    """A small bundle, the live loop on an emulated exchange, a picture."""
    from candelabra.cli.exit_codes import EXIT_INTERRUPTED
    from candelabra.cli.live import NO_ORDERS
    from candelabra.cli.live_screen import shown, summary
    from candelabra.cli.progress import reporter
    from candelabra.pipeline.live_demo import SPEED, demo_live

    place = folder or Path("runs") / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-live"
    loops: list[Any] = []
    with reporter(quiet=quiet) as progress, shown(as_json=as_json, quiet=quiet) as view:

        def begin(loop: Any) -> None:
            loops.append(loop)
            if not quiet:
                err().print(f"following an emulated exchange for {seconds:g} s at {SPEED:g} times the speed; {NO_ORDERS}")
            view(loop)

        made = demo_live(tree, folder=place, seconds=seconds, progress=progress, begun=begin)
    if not as_json:
        for line in summary(loops[0]) if loops else ():
            out().print(line, soft_wrap=True)
        out().print(f"picture: {made.picture}", soft_wrap=True)
        out().print(f"journal: {made.journal}", soft_wrap=True)
        lines = ["next:   open the picture in a browser; then", f"        candelabra live {made.bundle} --journal {made.journal} --replay"]
        err().print("\n".join([*lines, "        candelabra live YOUR_BUNDLE --exchange binance --symbols BTC/USDT"]), soft_wrap=True)
    return EXIT_INTERRUPTED if made.interrupted else 0


def evaluate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    paths: Annotated[list[str], typer.Argument(metavar="PATHS...", help="Candle files, folders or globs.", show_default=False)],
    walk_forward: Annotated[bool, typer.Option("--walk-forward", help="Refit fold by fold over the candles given.")] = False,
    folds: Annotated[int, typer.Option("--folds", min=1, metavar="N", help="Of --walk-forward.")] = 4,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    folder: Out = None,
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

        result = evaluate_bundle(place, candles, folder=folder, walk_forward=walk_forward, folds=folds, progress=progress)
    return _finish("evaluate", result, as_json, paths=paths)


_READ_BY_REGIMES: Final = ("regimes.", "candles.", "windows.shares", "seed", "size")
"""Settings that a run without forecasts looks at."""


def _require_regimes(tree: Config, assignments: Sequence[str], start_from: str | None) -> None:
    """UsageError where a run on labels alone lacks some, or is given what it would not look at."""
    if not tree.regimes.labels:
        raise UsageError("--regimes-only learns the labels of a learning set: give --labels FILE as well")
    if start_from:
        raise UsageError("--start-from is for forecasts: a regime network begins from random weights")
    for text in assignments:
        key = text.partition("=")[0].strip()
        if not key.startswith(_READ_BY_REGIMES):
            own = f", as in regimes.{key}" if key.startswith("training.") else ""
            raise UsageError(f"--set {text}: a run with --regimes-only reads regimes.*, candles.*, windows.shares, seed and size{own}")


def _resumed(run: Path, paths: Sequence[str] | None, labels: Path | None = None) -> Config:
    from dataclasses import replace

    from candelabra.config.text import from_toml

    file = run / "config.toml"
    if not file.is_file():
        raise UsageError(f"{run} is no run folder: it has no config.toml; give the folder of an interrupted run, as in runs/<run>")
    tree = from_toml(file.read_text(encoding="utf-8"), str(file))
    if not paths and not tree.candles.paths and (run / "candles.parquet").is_file():
        paths = [str(run / "candles.parquet")]  # a demo's own market
    tree = replace(tree, candles=replace(tree.candles, paths=tuple(paths))) if paths else tree
    if tree.regimes.only and not tree.regimes.labels and labels is None:
        raise UsageError(f"{run} does not say where its labels lie, for it was begun from Python: give them too, as in --labels FILE")
    if labels is not None:
        if not tree.regimes.labels and not tree.regimes.only:
            raise UsageError(f"{run} was begun without labels: start a run with them, or resume it without --labels")
        tree = replace(tree, regimes=replace(tree.regimes, labels=str(labels)))
    return tree


@contextmanager
def _resumable(folder: Path | None = None) -> Iterator[None]:
    """When the user stops a run (in ``folder``, else in a new one of runs/), say how to go on with it."""
    begun = time.time()
    try:
        yield
    except KeyboardInterrupt:
        begun_here = [folder / "config.toml"] if folder is not None else sorted(Path("runs").glob("*/config.toml"))
        started = [p for p in begun_here if p.is_file() and (folder is not None or p.stat().st_mtime >= begun)]
        for file in started:
            err().print(f"stopped; go on from the last checkpoint with: candelabra train --resume {file.parent}", soft_wrap=True)
        raise


def _command(verb: str, paths: Sequence[str], options: Mapping[str, Any]) -> str:
    """The command line that does the same again, for the report."""
    words = [*paths]
    for option, value in options.items():
        for one in value if isinstance(value, list) else () if value is None else (value,):
            words += [option, str(one)]
    return " ".join(["candelabra", verb, *(shlex.quote(w) for w in words)])


def _finish(command: str, result: Any, as_json: bool, *, paths: Sequence[str]) -> int:
    """The verdict, where everything is, and the next commands."""
    places = {name: getattr(result, name, None) for name in ("folder", "bundle", "report")}
    if as_json:
        shown = {name: None if place is None else str(place) for name, place in places.items()}
        verdict = [row.as_dict() for row in result.verdict]
        emit_json(command, {**shown, "verdict": verdict, "seconds": dict(result.seconds), "notes": list(result.notes)})
        return 0
    console = out()
    console.print(_verdict(result.verdict))
    told_before: set[str] = set()
    if getattr(result, "regimes", None) is not None:
        from candelabra.cli.segment import show_verdict

        for mode, told in result.regimes.verdicts.items():
            for one in told:
                show_verdict(mode, one)
                told_before |= set(one.notes)
    for note in (note for note in result.notes if note not in told_before):
        console.print(f"note: {note}")
    for name in ("report", "bundle"):
        if places[name] is not None:
            console.print(f"{name}: {places[name]}", soft_wrap=True)
    laps = {name: seconds for name, seconds in result.seconds.items() if name != "all"}
    parts = f" ({', '.join(f'{name} {seconds:.0f} s' for name, seconds in laps.items())})" if laps else ""
    console.print(f"took:   {result.seconds.get('all', sum(laps.values())):.0f} s{parts}")
    if command != "evaluate":
        from candelabra.pipeline.train import CANDLES_FILE

        bundle, simulated = places["bundle"], result.folder / CANDLES_FILE
        files = shlex.join(paths or [str(simulated)])
        lines = ["next:   open the report in a browser; then", f"        candelabra forecast {shlex.quote(str(bundle))} {files}"]
        if getattr(result, "regimes", None) is not None:
            lines += [f"        candelabra segment {shlex.quote(str(bundle))} {files} --picture regimes.html"]
        lines += [f"        candelabra evaluate {shlex.quote(str(bundle))} {'LATER_CANDLES' if paths else files}"]
        lines += [] if paths else ["        candelabra demo --candles YOUR_CANDLES.csv"]
        err().print("\n".join(lines), soft_wrap=True)
    return 0


def _short(rows: Sequence[VerdictRow]) -> list[VerdictRow]:
    """The rows for a terminal: of the comparisons of volatility the hardest one by R2; the report and --json have all."""
    hardest: dict[str, VerdictRow] = {}
    for row in rows:
        if row.what.startswith(_R2_OVER) and (row.horizon not in hardest or float(row.figure) < float(hardest[row.horizon].figure)):
            hardest[row.horizon] = row
    return [
        row
        for row in rows
        if row is hardest.get(row.horizon) or not (row.what.startswith(_R2_OVER) or row.what.startswith("volatility QLIKE"))
    ]


def _verdict(rows: Sequence[VerdictRow]) -> Any:
    from rich.text import Text

    def words(row: VerdictRow) -> Text:
        style = "bold magenta" if row.flag else {True: "green", False: "red", None: ""}[row.good]
        return Text(row.words, style=style)

    made = table(("horizon", "what", "figure", "95 % interval", "verdict"), (), title="Verdict", numbers=("figure", "95 % interval"))
    short = [row for row in _short(rows) if " regimes, " not in row.what]  # they have tables of their own
    for row, after in zip(short, [*short[1:], None], strict=True):
        cells = (Text(row.horizon), Text(row.what), Text(row.figure), Text(row.interval), words(row))
        made.add_row(*cells, end_section=after is not None and after.horizon != row.horizon)
    return made
