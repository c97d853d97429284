"""The routes: raw candles or prepared features in, a forecast out; how the service is; what its bundle needs."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from candelabra.bundles.predictor import Predictor
from candelabra.errors import BundleError, CandelabraError
from candelabra.serving import document
from candelabra.serving.answers import VERSION, BundleAnswer, ForecastAnswer, Health, PredictAnswer, Service
from candelabra.serving.bodies import ForecastBody, PredictBody, candles_of, parse
from candelabra.serving.limits import Limits
from candelabra.serving.refusals import Refusal, json_response, refusal_of
from candelabra.serving.worker import Worker

__all__ = ["ServingSettings", "create_app", "default_body_limit"]

_ABOUT: Final = (
    "Forecasts of a sealed candelabra bundle: quantiles of the return, the volatility to come, at the newest closed candle. Closed candles "
    "in; nothing that closes later is read."
)
_ROUTE_ERRORS: Final = (400, 408, 413, 415, 422, 503)


@dataclass(frozen=True)
class ServingSettings:
    """``body_limit`` in bytes (0: what the bundle's candles need, with room); ``read_seconds`` for a whole body; ``queue``: forecasts that
    may wait behind the running one.
    """

    body_limit: int = 0
    read_seconds: float = 10.0
    queue: int = 16


def default_body_limit(needs: dict[str, int]) -> int:
    """Bytes for the candles a bundle needs, eight times over (finer candles, pretty-printed), at least 1 MiB."""
    return max(2**20, 8 * 100 * sum(needs.values()))


def create_app(predictor: Predictor, settings: ServingSettings | None = None) -> FastAPI:
    """The application around an opened bundle; made once per process."""
    chosen = settings or ServingSettings()
    limit = chosen.body_limit or default_body_limit(predictor.manifest.needs)
    service, worker = Service(predictor), Worker(chosen.queue)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    app = FastAPI(title="candelabra", version=VERSION, description=_ABOUT, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.add_middleware(Limits, body_bytes=limit, seconds=chosen.read_seconds)
    _answer_errors(app)
    given = document.examples(service.bundle(limit), predictor.recipe.timeframes[0])

    @app.post(
        "/v1/forecast", summary="Forecast from raw candles", response_model=None,
        responses=document.responses(ForecastAnswer, *_ROUTE_ERRORS), openapi_extra=document.body_of(ForecastBody, given["forecast"]),
    )  # fmt: skip
    async def forecast(request: Request) -> Response:
        """Raw closed candles of one symbol in, its `Prediction` out: the same bits as `candelabra forecast`."""
        body = parse(await _json_body(request), ForecastBody)
        candles = candles_of(body)
        return json_response(await worker.run(lambda: service.forecast(candles, body.at_ms)))

    @app.post(
        "/predict", summary="Forecast from prepared features", response_model=None,
        responses=document.responses(PredictAnswer, *_ROUTE_ERRORS), openapi_extra=document.body_of(PredictBody, given["predict"]),
    )  # fmt: skip
    async def predict(request: Request) -> Response:
        """Prepared features of the base timeframe in, the median close out. Candles tell more: prefer `/v1/forecast`."""
        body = parse(await _json_body(request), PredictBody)
        return json_response(await worker.run(lambda: service.predict(body)))

    @app.get("/health", summary="How the service is", response_model=None, responses=document.responses(Health, 400, 408, 413))
    async def health() -> Response:
        """Answers while a forecast runs."""
        return json_response(service.health(worker.waiting))

    @app.get("/v1/bundle", summary="What the bundle needs", response_model=None, responses=document.responses(BundleAnswer, 400, 408, 413))
    async def bundle() -> Response:
        """Candles of each timeframe, horizons, features, and what it learned from."""
        return json_response(service.bundle(limit))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(document.page(app.openapi()))

    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _json_body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or "content-encoding" in request.headers:
        raise Refusal(415, "type", "the body must be sent with Content-Type: application/json and no Content-Encoding")
    return await request.body()


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        made.setdefault("components", {})["schemas"] = document.components()
        app.openapi_schema = made
    return app.openapi_schema


def _answer_errors(app: FastAPI) -> None:
    """All errors are JSON of one form, and none repeats what was sent."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return refusal.response()

    @app.exception_handler(CandelabraError)
    async def cannot_be(_: Request, error: CandelabraError) -> Response:
        if isinstance(error, BundleError):
            return Refusal(500, "bundle", str(error)).response()
        return refusal_of([error]).response()

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        texts = {
            404: f"there is nothing at {request.url.path[:80]!r}: see /docs for what there is",
            405: f"{request.method[:20]} is not for {request.url.path[:80]!r}: see /docs for what there is",
        }
        return Refusal(error.status_code, "http", texts.get(error.status_code, str(error.detail)), headers=error.headers).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return Refusal(422, "body", *(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())).response()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return Refusal(
            500, "bug", f"candelabra itself failed ({type(error).__name__}): the server's log has more; please report it"
        ).response()
