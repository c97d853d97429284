"""``features``: what features there are, what one means, and which of them say the same thing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candelabra.cli.console import emit_json, err, facts, out, table
from candelabra.cli.options import AsJson, Assignments, ConfigFile, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import SourceError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from candelabra.features.selection import Selection
    from candelabra.windows.series import Series

__all__ = ["app"]

app = typer.Typer(help="Features: list, explain, table.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> int:
    """List every feature kind, with its default arguments, warm-up (bars) and formula."""
    from candelabra.features.catalog import describe

    found = describe()
    if as_json:
        emit_json("features list", {"features": [row | {"warm_up": int(row["warm_up"])} for row in found]})
        return 0
    columns = ("feature", "family", "channels", "warm-up", "formula")
    rows = [(f["name"], f["family"], f["channels"], f["warm_up"], f["formula"]) for f in found]
    out().print(table(columns, rows, numbers=("warm-up",)))
    return 0


@app.command()
def explain(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A feature, as in rsi(14), talib.CCI(20), lag(return(1),3).")],
    timeframe: Annotated[str, typer.Option("--timeframe", metavar="TF", help="Whose warm-up is told.")] = "1h",
    as_json: AsJson = False,
) -> int:
    """Explain one feature: its channels, formula, warm-up and where it comes from."""
    from candelabra.candles.timeframe import Timeframe
    from candelabra.features.catalog import FEATURES, parse

    feature, frame = parse(spec), Timeframe(timeframe)
    kind = feature.kind
    told: dict[str, Any] = {
        "feature": feature.spec,
        "family": FEATURES.entry(kind.name).summary,
        "channels": list(feature.names),
        "parameters": {p.name: a.spec if hasattr(a, "spec") else a for p, a in zip(kind.parameters, feature.arguments, strict=False)},
        "formula": kind.formula,
        "source": kind.source,
        "warm_up": feature.warm_up(frame),
        "timeframe": frame.name,
        "version": kind.version,
    }
    if as_json:
        emit_json("features explain", told)
        return 0
    lines = told | {
        "channels": "\n".join(told["channels"]),
        "parameters": ", ".join(f"{k} = {v}" for k, v in told["parameters"].items()) or "none",
        "warm_up": f"{told['warm_up']} bars of {frame} before the first value that is final",
    }
    del lines["timeframe"]
    out().print(facts([(k.replace("_", "-"), str(v)) for k, v in lines.items() if v]))
    return 0


@app.command("table")
def table_(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="[PATHS]...", help="Candle files, folders or globs.", show_default=False)
    ] = None,
    horizon: Annotated[str | None, typer.Option("--horizon", metavar="H", help="Of the target (default: the longest).")] = None,
    target: Annotated[str, typer.Option("--target", metavar="WHAT", help="volatility, return or none.")] = "volatility",
    of: Annotated[str | None, typer.Option("--of", metavar="TF", help="Features of this timeframe (default: the base).")] = None,
    threshold: Annotated[float, typer.Option("--threshold", help="Correlation above which features form a cluster.")] = 0.9,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.html", help="Also draw it, as a page that works offline.")
    ] = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    config: ConfigFile = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Correlation, redundancy and information about the target, read from the train range only."""
    from candelabra.cli.progress import reporter
    from candelabra.features.selection import examine

    if target not in ("volatility", "return", "none"):
        raise UsageError(f"--target {target}: choose volatility, return or none")
    if picture is not None and (picture.suffix.lower() not in (".html", ".htm") or not picture.parent.is_dir()):
        raise UsageError(f"--picture {picture}: name an .html file in a folder that exists")
    tree = settings(config, assignments, paths=paths, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        candles = read(tree, progress)
        with progress.stage("compute features"):
            series, train, aim, horizon_name = _learned_from(tree, candles, target, horizon, progress)
        frame = _timeframe(series, of)
        features = series.features[frame]
        values, rows = _on_base(series, frame), train
        with progress.stage("compare them"):
            found = examine(values, features.names, rows, aim, threshold=threshold)
    document = {"symbol": series.symbol, "timeframe": frame, "target": target, "horizon": horizon_name, **found.to_dict()}
    if picture is not None:
        _draw(found, picture)
        document["picture"] = str(picture)
    if as_json:
        emit_json("features table", document)
        return 0
    _show(found, f"{series.symbol} {frame}: {len(found.names)} channels on {found.rows:,} train rows", target, horizon_name)
    if picture is not None:
        err().print(f"picture: {picture}")
    return 0


def _learned_from(
    tree: Any, candles: list[Any], target: str, horizon: str | None, progress: Any
) -> tuple[Series, NDArray[np.int64], NDArray[np.float64] | None, str]:
    """Series, train rows and target of the first symbol, split as training would split all of them."""
    from candelabra.pipeline.material import prepare

    material = prepare(candles, tree)
    names = [h.name for h in material.recipe.horizons]
    if horizon is not None and horizon not in names:
        raise UsageError(f"--horizon {horizon}: choose one of {', '.join(names)} (windows.horizons)")
    column = names.index(horizon) if horizon is not None else len(names) - 1
    if len(material.series) > 1:
        progress.note(f"{len(material.series)} symbols: the table is about {material.series[0].symbol}; choose another with --symbol")
    targets = material.targets[0]
    aim = {"volatility": targets.log_volatility, "return": targets.returns}.get(target)
    return material.series[0], material.split.train[0], None if aim is None else aim[:, column], names[column]


def _timeframe(series: Series, of: str | None) -> str:
    from candelabra.registry import did_you_mean

    if of is not None and of not in series.features:
        raise UsageError(f"--of {of}: no features of this timeframe are asked for: {did_you_mean(of, list(series.features))}")
    return of or series.base.name


def _on_base(series: Series, frame: str) -> NDArray[np.float32]:
    """The features of a timeframe as they are known at the close of each base bar."""
    import numpy as np

    values = series.features[frame].values
    if frame == series.base.name:
        return values
    rows = series.asof[frame]
    gathered = values[np.maximum(rows, 0)].copy()
    gathered[rows < 0] = np.nan
    return gathered


def _show(found: Selection, title: str, target: str, horizon: str) -> None:
    information = dict(zip(found.names, found.information, strict=True)) if found.information is not None else {}
    chance = dict(zip(found.names, found.by_chance, strict=True)) if found.by_chance is not None else {}
    rows = []
    for number, cluster in enumerate(found.clusters, 1):
        for name in cluster:
            most = max(
                ((abs(found.correlation[found.names.index(name), found.names.index(o)]), o) for o in found.names if o != name),
                default=(0.0, ""),
            )
            told = (f"{information[name]:.4f}", f"{chance[name]:.4f}") if information else ()
            rows.append((number, name, *told, f"{most[0]:.2f}", most[1]))
    columns = ("cluster", "feature", *(("information", "by chance") if information else ()), "|correlation|", "with")
    about = f", information (nats) about the {target} of the next {horizon}" if information else ""
    out().print(table(columns, rows, title=f"{title}{about}", numbers=("cluster", "information", "by chance", "|correlation|")))
    out().print(
        f"{len(found.names)} channels, {len(found.clusters)} clusters: one of each would do where correlation passes {found.threshold:g}"
    )


def _draw(found: Selection, path: Path) -> None:
    try:
        found.figure().write_html(path, include_plotlyjs=True)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror or error}: check the disk and the folder") from error
