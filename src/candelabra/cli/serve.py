"""``serve``: a sealed bundle behind HTTP, on this machine alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from candelabra.cli.bundles import bundle_folder
from candelabra.cli.console import emit_json, err
from candelabra.cli.exit_codes import EXIT_INTERRUPTED
from candelabra.cli.options import AsJson
from candelabra.errors import UsageError

__all__ = ["serve"]


def serve(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)],
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="An address of this machine; no other is served.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="0: any free one.")] = 8000,
    body_limit: Annotated[
        float | None, typer.Option("--body-limit", metavar="MIB", help="Largest body, in MiB (default: what the bundle's candles need).")
    ] = None,
    queue: Annotated[int, typer.Option("--queue", metavar="N", help="Forecasts that may wait for the running one.")] = 16,
    as_json: AsJson = False,
) -> int:
    """Serve forecasts over HTTP on this machine: POST /v1/forecast, POST /predict, GET /health, /v1/bundle, /docs."""
    if body_limit is not None and not 0.001 <= body_limit <= 1024:
        raise UsageError(f"--body-limit {body_limit:g}: a size from 0.001 to 1024 MiB is needed")
    if queue < 0:
        raise UsageError(f"--queue {queue}: a number of at least 0 is needed")
    from candelabra.serving.kernels import skip_blas_probe

    skip_blas_probe()
    from candelabra.bundles.predictor import Predictor
    from candelabra.serving.api import ServingSettings
    from candelabra.serving.run import open_socket
    from candelabra.serving.run import serve as run

    with open_socket(host, port) as listening:
        predictor = Predictor.open(bundle_folder(bundle))

        def ready(url: str) -> None:
            try:
                if as_json:
                    emit_json("serve", {"url": url, "bundle": predictor.manifest.id, "model": predictor.manifest.model})
                sys.stdout.flush()  # whoever waits for the address reads a pipe
            except BrokenPipeError:  # and may stop reading once it is known: no reason to stop serving
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            err().print(f"serving {predictor.manifest.id} ({predictor.manifest.model}) at {url}, described at {url}/docs; Ctrl-C ends it")

        settings = ServingSettings(body_limit=0 if body_limit is None else round(body_limit * 2**20), queue=queue)
        interrupted = run(predictor, listening, settings, ready)
    return EXIT_INTERRUPTED if interrupted else 0
