"""A guard for tests: nothing leaves this machine, neither a connection nor the question where a name lives."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["LeftTheMachine", "loopback_only"]


class LeftTheMachine(RuntimeError):
    """Something under `loopback_only` tried to reach another machine. No OSError: who retries those must not hide it."""


@contextlib.contextmanager
def loopback_only() -> Iterator[list[str]]:
    """Refuse every connection that is not to this machine itself, and every look-up of a name, while inside: raises LeftTheMachine there.

    Gives the list of what was tried, also of what a library swallowed: assert that it is empty. Sockets of this process made in Python
    are guarded (asyncio, aiohttp, httpx, requests); other processes, and libraries with a network of their own in C, are not.

    >>> with loopback_only() as tried:
    ...     try:
    ...         socket.create_connection(("example.com", 443), timeout=1)
    ...     except LeftTheMachine as error:
    ...         print(error)
    refused to look up 'example.com': tests do not leave this machine; ask an emulator (candelabra.testing.Emulator) instead
    >>> tried
    ["look up 'example.com'"]
    """
    tried: list[str] = []

    def refuse(what: str) -> None:
        tried.append(what)
        raise LeftTheMachine(f"refused to {what}: tests do not leave this machine; ask an emulator (candelabra.testing.Emulator) instead")

    def guarded_name(real: Callable[..., Any]) -> Callable[..., Any]:
        def look_up(host: Any, *given: Any, **named: Any) -> Any:
            if not _known_here(host):
                refuse(f"look up {host!r}")
            return real(host, *given, **named)

        return look_up

    def guarded_address(real: Callable[..., Any], word: str, place: int = 0) -> Callable[..., Any]:
        def reach(self: socket.socket, *given: Any) -> Any:
            address = given[place]
            # Own names (AF_UNIX) and other families than IP stay on the machine.
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
                refuse(f"{word} {address[0]} port {address[1]}")
            return real(self, *given)

        return reach

    names = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr")
    with contextlib.ExitStack() as undo:
        for name in names:
            _replace(undo, socket, name, guarded_name(getattr(socket, name)))
        for name, word, place in (("connect", "connect to", 0), ("connect_ex", "connect to", 0), ("sendto", "send to", -1)):
            _replace(undo, socket.socket, name, guarded_address(getattr(socket.socket, name), word, place))
        yield tried


def _replace(undo: contextlib.ExitStack, owner: Any, name: str, new: object) -> None:
    # A method that was inherited is taken away again, not written down as the class's own.
    own = owner.__dict__.get(name)
    undo.callback(setattr, owner, name, own) if own is not None else undo.callback(delattr, owner, name)
    setattr(owner, name, new)


def _known_here(host: Any) -> bool:
    """Whether looking a host up asks nobody else: none, an address in figures, this machine's names."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if not text or text == "localhost" or text.endswith(".localhost") or text == socket.gethostname():
        return True
    return _address(text) is not None


def _is_here(host: Any) -> bool:
    found = _address(host) if host not in ("", "localhost") else ipaddress.ip_address("127.0.0.1")
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found is not None and (found.is_loopback or found.is_unspecified)


def _address(host: Any) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(str(host).partition("%")[0])
    except ValueError:
        return None
