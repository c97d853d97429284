"""What stands before the application: whose requests are heard, how large a body may be and how long it may take to come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from candelabra.serving.refusals import Refusal

__all__ = ["Limits"]

_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")


@dataclass(frozen=True)
class Limits:
    """ASGI middleware: bytes are counted as they come, and nothing is parsed before the whole body is there in time.

    A body over ``body_bytes`` is 413, one that is not there after ``seconds`` 408. A ``Host`` that is not this machine is 400: a page of
    another site that has its name point here must not get answers.
    """

    app: ASGIApp
    body_bytes: int
    seconds: float

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send)
            return
        if body is None:
            return
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, replay, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body; None when the client has gone."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"127.0.0.1").decode("latin-1").lower()
        name = host if host in _NAMES else host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name not in _NAMES:
            raise Refusal(400, "host", f"this server answers for 127.0.0.1 and localhost only, not for {host[:80]!r}: ask by those names")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.body_bytes:
            raise self._too_large()
        parts, size = [], 0
        try:
            async with asyncio.timeout(self.seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    part = message.get("body", b"")
                    size += len(part)
                    if size > self.body_bytes:
                        raise self._too_large()
                    parts.append(part)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refusal(
                408, "time", f"the body was not here after {self.seconds:g} seconds: send it at once", headers={"connection": "close"}
            ) from None

    def _too_large(self) -> Refusal:
        return Refusal(
            413,
            "size",
            f"the body is larger than {self.body_bytes:,} bytes: send only the candles that GET /v1/bundle says are needed, or start the "
            "server with a larger --body-limit",
            headers={"connection": "close"},
        )
