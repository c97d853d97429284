"""The guard that every test runs under: nothing leaves this machine."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest

from candelabra.testing import LeftTheMachine, loopback_only


@pytest.mark.parametrize("address", [("1.1.1.1", 80), ("2606:4700:4700::1111", 80)])
def test_a_connection_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with loopback_only() as tried, closing(socket.socket(family, socket.SOCK_STREAM)) as out:
        out.settimeout(0.5)
        with pytest.raises(LeftTheMachine, match="tests do not leave this machine"):
            out.connect(address)
        with pytest.raises(LeftTheMachine, match="port 80"):
            out.connect_ex(address)
    assert len(tried) == 2
    assert "connect" not in socket.socket.__dict__ or socket.socket.connect.__name__ == "reach"  # the session's own guard is back


def test_a_name_is_not_looked_up_nor_a_datagram_sent() -> None:
    async def dial() -> None:
        await asyncio.open_connection("api.binance.com", 443)

    with loopback_only() as tried:
        for ask in (socket.getaddrinfo, lambda host, _: socket.gethostbyname(host)):
            with pytest.raises(LeftTheMachine):
                ask("api.binance.com", 443)
        with pytest.raises(LeftTheMachine, match=r"look up .api\.binance\.com"):
            asyncio.run(dial())
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as out, pytest.raises(LeftTheMachine, match=r"send to 8\.8\.8\.8"):
            out.sendto(b"?", ("8.8.8.8", 53))
    assert len(tried) == 4


def test_this_machine_can_be_reached() -> None:
    with loopback_only() as tried, socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, port), timeout=5).close()
        ours, theirs = socket.socketpair()
        ours.close()
        theirs.close()
    assert tried == []
