"""The process that serves: one socket of this machine, one worker, a clean end."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
from collections.abc import Callable

import uvicorn

from candelabra.bundles.predictor import Predictor
from candelabra.errors import SourceError, UsageError
from candelabra.serving.api import ServingSettings, create_app

__all__ = ["open_socket", "serve"]


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket of this machine; UsageError for another address, or for a port that cannot be had. Port 0: any free one."""
    try:
        address = ipaddress.ip_address({"localhost": "127.0.0.1"}.get(host, host))
    except ValueError:
        raise UsageError(f"--host {host} is not an address of this machine: use 127.0.0.1, ::1 or localhost") from None
    if not address.is_loopback:
        raise UsageError(
            f"--host {host} would let others on the network ask, and this server does not check who asks (keys come with a later version): "
            "use 127.0.0.1, and let a server that does check stand before it"
        )
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        return socket.create_server((str(address), port), family=family, backlog=128)
    except OSError as error:
        raise UsageError(
            f"port {port} of {address} cannot be had ({error.strerror or error}): choose another --port, or 0 for any"
        ) from None


def serve(predictor: Predictor, listening: socket.socket, settings: ServingSettings, ready: Callable[[str], None]) -> bool:
    """Serve until SIGINT or SIGTERM; ``ready`` is told the address. True when it was interrupted (SIGINT)."""
    host, port = listening.getsockname()[:2]
    config = uvicorn.Config(
        create_app(predictor, settings), http="h11", loop="asyncio", ws="none", log_level="warning", access_log=False, server_header=False,
        timeout_keep_alive=5, timeout_graceful_shutdown=10,
    )  # fmt: skip
    return asyncio.run(_run(_Server(config), listening, f"http://{f'[{host}]' if ':' in host else host}:{port}", ready))


class _Server(uvicorn.Server):
    """A server whose signals are its caller's business: uvicorn raises them again at the end, which would be a crash to whoever waits."""

    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Leave signals alone."""
        import contextlib

        return contextlib.nullcontext()


async def _run(server: _Server, listening: socket.socket, url: str, ready: Callable[[str], None]) -> bool:
    caught: list[int] = []

    def stop(number: int) -> None:
        server.force_exit = bool(caught)  # asked twice: without waiting for answers that are still being made
        caught.append(number)
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        ready(url)
    await serving
    if not server.started:
        raise SourceError("the server did not start: what it said is above")
    return signal.SIGINT in caught
