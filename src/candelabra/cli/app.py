"""The verbs by name; each module registers its own, and imports what it needs only when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from candelabra import __version__
from candelabra.cli import (
    audit,
    backtest,
    bundles,
    check,
    doctor,
    features,
    fetch,
    forecast,
    importing,
    journeys,
    label,
    live,
    repair,
    segment,
    serve,
    settings,
    store,
    suggest,
)

__all__ = ["app"]

app = typer.Typer(
    name="candelabra",
    help="Learn from OHLCV candles at several timeframes at once, and get an honest verdict.",
    epilog="Exit codes: 0 ok, 1 findings, 2 usage, 3 data, 4 disk or network, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"candelabra {__version__}")
        raise typer.Exit()


@app.callback()
def _globals(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (also CANDELABRA_DEBUG=1; works after any verb).")] = False,
) -> None:
    pass


app.command("demo")(journeys.demo)
app.command("check")(check.check)
app.command("fetch")(fetch.fetch)
app.command("repair")(repair.repair)
app.command("import")(importing.import_)
app.add_typer(features.app, name="features")
label.app.command("suggest")(suggest.suggest)
app.add_typer(label.app, name="label")
app.command("train")(journeys.train)
app.command("evaluate")(journeys.evaluate)
app.command("forecast")(forecast.forecast)
app.command("segment")(segment.segment)
app.command("backtest")(backtest.backtest)
app.command("audit")(audit.audit)
app.command("serve")(serve.serve)
app.command("live")(live.live)
app.add_typer(bundles.app, name="bundle")
app.add_typer(settings.app, name="config")
app.add_typer(store.app, name="store")
app.command("doctor")(doctor.doctor)
