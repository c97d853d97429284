"""``audit``: does anything read the future, come a bar late, or differ in a stream?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson, Quiet, Symbols, Timeframes, read, settings
from candelabra.errors import DataError, UsageError

if TYPE_CHECKING:
    from candelabra.candles.frame import Candles
    from candelabra.evaluation.certificate import Certificate
    from candelabra.evaluation.findings import Audit
    from candelabra.progress import Reporter

__all__ = ["audit"]

_BARS = 3_000
_NOTES = 6


def audit(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGETS...",
            help="A bundle, feature:SPEC (feature:all), model:NAME, labeller:NAME, decoder:KIND, statechart, regime-inputs, "
            "module:function or file.py:function.",
            show_default=False,
        ),
    ],
    candles: Annotated[
        list[str] | None, typer.Option("--candles", metavar="PATH", help="Candles to audit on; repeatable (default: a simulated market).")
    ] = None,
    symbols: Symbols = None,
    timeframes: Timeframes = None,
    given: Annotated[
        str | None, typer.Option("--as", metavar="FRAME", help="What a function takes: candles, pandas, polars, pyarrow or arrays.")
    ] = None,
    fresh: Annotated[
        str, typer.Option("--fresh", metavar="WHAT", help="Who must hear of the newest bar: each column, any or no.")
    ] = "each",
    late: Annotated[
        list[str] | None, typer.Option("--late", metavar="COLUMN=BARS", help="A column that lags on purpose; repeatable.")
    ] = None,
    warm_up: Annotated[
        int | None, typer.Option("--warm-up", metavar="BARS", help="Bars a function needs before a bar, to be held to.")
    ] = None,
    bars: Annotated[int, typer.Option("--bars", metavar="N", help="Newest bars to audit functions and features on (0: all).")] = _BARS,
    refit: Annotated[bool, typer.Option("--refit/--no-refit", help="Fit a bundle's settings again, tiny, on scrambled ranges.")] = True,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of every random change.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the certificate as a page.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Change the future and look whether the past moves; shock the newest bar and look whether the answer does. Exit code 1 on findings."""
    from candelabra.cli.progress import reporter

    tree = settings(paths=candles, symbols=symbols, timeframes=timeframes)
    with reporter(quiet=quiet) as progress:
        market = _one_symbol(read(tree, progress)) if tree.candles.paths else _simulated(progress)
        certificate = _audited(
            targets, market, bool(tree.candles.paths), _options(given, fresh, late, warm_up), bars, refit, seed, progress
        )
    if html is not None:
        from candelabra.report.certificate import write_certificate

        write_certificate(certificate, html, f"Causality audit of {', '.join(targets[:3])}{' …' if len(targets) > 3 else ''}")
    if as_json:
        emit_json("audit", json.loads(certificate.to_json()))
    else:
        _show(certificate)
    if html is not None:
        err().print(f"the certificate is in {html}", soft_wrap=True)
    return 0 if certificate.passed else EXIT_FINDINGS


def _audited(
    targets: Sequence[str], market: list[Candles], own: bool, options: Any, bars: int, refit: bool, seed: int, progress: Reporter
) -> Certificate:
    import candelabra
    from candelabra.evaluation.certificate import certify
    from candelabra.pipeline.audit_targets import audit_target, is_bundle, newest

    found: list[Audit] = []
    data: dict[str, str] = {}
    for target in targets:
        if is_bundle(target):
            if not Path(target).exists():
                raise UsageError(
                    f"there is no {target!r}: give a bundle's folder, feature:SPEC, model:NAME, labeller:NAME, decoder:KIND, statechart, "
                    "regime-inputs, module:function or path/to/file.py:function"
                )
            if not own:
                raise UsageError(f"a bundle is audited on candles of its market: audit {target} --candles FILE")
            with progress.stage(f"audit {target}"):
                for certificate in _of_bundle(bundle_folder(Path(target)), market, refit, progress):
                    found += certificate.audits
                    data |= certificate.data
            continue
        with progress.stage(f"audit {target}"):
            chosen = newest(market if own or target.startswith("feature:") else market[-1:], bars, target)
            found += audit_target(target, chosen, options, seed)
            data |= {f"{c.symbol} {c.timeframe}": c.fingerprint for c in chosen}
    return certify(found, data, candelabra.__version__)


def _of_bundle(folder: Path, market: list[Candles], refit: bool, progress: Reporter) -> list[Certificate]:
    """Of a bundle's forecasts and of its regimes, whichever it has."""
    from candelabra.bundles.format import read_manifest
    from candelabra.bundles.segmenting import regime_modes

    modes, found = regime_modes(folder), []
    if read_manifest(folder).horizons or not modes:
        from candelabra.bundles.predictor import Predictor
        from candelabra.pipeline.audit import audit_bundle

        found.append(audit_bundle(Predictor.open(folder), folder, market, refit=refit, progress=progress))
    if modes:
        from candelabra.pipeline.audit_regimes import audit_regime_bundle

        found.append(audit_regime_bundle(folder, market, progress=progress))
    return found


def _options(given: str | None, fresh: str, late: Sequence[str] | None, warm_up: int | None) -> Any:
    from candelabra.pipeline.audit_targets import FunctionOptions

    delays = {}
    for text in late or ():
        column, _, number = text.rpartition("=")
        if not column or not number.isdigit():
            raise UsageError(f"--late {text!r} is not COLUMN=BARS: write it as in --late signal=1")
        delays[column] = int(number)
    return FunctionOptions(given, fresh, delays, warm_up)  # type: ignore[arg-type]


def _one_symbol(candles: list[Candles]) -> list[Candles]:
    names = sorted({c.symbol for c in candles})
    if len(names) > 1:
        raise UsageError(f"an audit looks at one symbol, and these candles are of {', '.join(names)}: choose with --symbol")
    if not any(len(c) for c in candles):
        raise DataError("there are no closed candles: give files that have some")
    return candles


def _simulated(progress: Reporter) -> list[Candles]:
    from candelabra.candles.resample import resample
    from candelabra.candles.simulate import simulate

    progress.note("no candles were named: audited on a simulated market (5m and 1h); give your own with --candles")
    fine = simulate("SIM/USDT", "5m", bars=12 * 2_400, seed=0).candles
    return [fine, resample(fine, "1h")]


def _show(certificate: Certificate) -> None:
    console = out()
    for one in certificate.audits:
        for finding in one.findings:
            console.print(f"{one.subject}: {finding.words}", style="red", soft_wrap=True)
    rows = [
        (
            a.subject,
            f"{len(a.findings)} finding{'' if len(a.findings) == 1 else 's'}"
            if a.findings
            else "nothing found"
            if a.tried
            else "not judged",
            f"{a.columns:,}",
            f"{sum(a.tried.values()):,}",
        )
        for a in certificate.audits
    ]
    console.print(table(("subject", "verdict", "outputs", "disturbed runs"), rows, numbers=("outputs", "disturbed runs")))
    notes = [f"not judged in {one.subject}: {text}" for one in certificate.audits for text in one.notes]
    for text in notes[:_NOTES]:
        console.print(text, style="yellow", soft_wrap=True)
    if len(notes) > _NOTES:
        console.print(f"and {len(notes) - _NOTES} more notes: see --json or --html", style="yellow")
    console.print(certificate.summary, style="green" if certificate.passed else "red", soft_wrap=True)
