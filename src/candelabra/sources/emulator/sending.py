"""How an answer goes over the line: whole, or as the faults of the line leave it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from email.utils import formatdate
from typing import Any, Final

from aiohttp import web

from candelabra.sources.emulator.faults import Faults
from candelabra.sources.emulator.limits import Refusal
from candelabra.sources.emulator.spoiling import spoil_rows
from candelabra.sources.emulator.wire import Answer, Exchange

__all__ = ["aborted", "refused", "sent"]

_PAGE: Final = "<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"
_STATUS: Final = {"403": 403, "451": 451, "500": 500, "502-html": 502, "504": 504}
_BODIES: Final = {"html": _PAGE, "object": "{}", "null": "null", "empty-body": ""}
_CUT: Final = ("truncated", "cut-length", "cut-chunked")
_OWN: Final = {"error-internal": ("internal", 500), "error-timeout": ("timeout", 200), "error-busy": ("busy", 503)}


def _headers(now_ms: int) -> dict[str, str]:
    return {"Date": formatdate(now_ms / 1000, usegmt=True)}


def refused(exchange: Exchange, refusal: Refusal, now_ms: int) -> web.Response:
    """The answer to who has to wait."""
    headers = _headers(now_ms) | {"Retry-After": str(refusal.retry_after_s)}
    return web.json_response(exchange.too_many, status=refusal.status, headers=headers)


def aborted(request: web.BaseRequest) -> None:
    """End the connection at once, with a reset."""
    transport = request.transport
    if transport is None:
        return
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def sent(
    request: web.Request, exchange: Exchange, answer: Answer, kind: str | None, faults: Faults, number: int, now_ms: int
) -> tuple[web.StreamResponse, int, str | None]:
    """Send an answer with a fault. Gives the response, the status for the log (0: none) and the fault that really was."""
    headers = _headers(now_ms)

    def plain(body: str, status: int, content: str = "application/json") -> web.Response:
        return web.Response(text=body, status=status, content_type=content, headers=headers)

    if kind in ("429", "418"):
        refusal = Refusal(int(kind), faults.retry_after_s, early=False)
        return refused(exchange, refusal, now_ms), refusal.status, kind
    if kind in _STATUS:
        return plain(_PAGE, _STATUS[kind], "text/html"), _STATUS[kind], kind
    if kind in _OWN:
        which, status = _OWN[kind]
        return plain(json.dumps(exchange.failures[which]), status), status, kind
    if kind in _BODIES:
        return plain(_BODIES[kind], 200, "text/html" if kind == "html" else "application/json"), 200, kind
    if kind in ("hang", "reset"):
        if kind == "hang":
            await asyncio.sleep(faults.hang_s)
        aborted(request)
        return web.Response(), 0, kind
    met = kind if kind in _CUT or (kind is not None and spoil_rows(kind, answer, faults.choice(number, 1 << 30))) else None
    binary = isinstance(answer.body, bytes)
    body = answer.body if binary else json.dumps(answer.body).encode()
    headers["Content-Type"] = "application/octet-stream" if binary else "application/json"
    half = body[: max(1, len(body) // 2)]
    if kind in ("cut-length", "cut-chunked"):
        return await _cut(request, half, len(body), kind == "cut-chunked", headers), answer.status, kind
    return web.Response(body=half if kind == "truncated" else body, status=answer.status, headers=headers), answer.status, met


async def _cut(request: web.Request, half: bytes, length: int, chunked: bool, headers: dict[str, str]) -> web.StreamResponse:
    response: Any = web.StreamResponse(headers=headers)
    if chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = length
    await response.prepare(request)
    await response.write(half)
    if request.transport is not None:
        request.transport.close()  # after what was written has gone: a reset could overtake it
    return response  # type: ignore[no-any-return]
