"""Exchanges on this machine that answer, announce and fail as the real ones do: for tests and demonstrations without a network.

>>> from candelabra.sources.emulator import EmulatedMarket
>>> EmulatedMarket("BTC/USDT", seed=7).truth("1h", 1_700_000_000_000, 1_700_020_000_000)
Candles(BTC/USDT 1h, 4 bars, 2023-11-14 23:00 .. 2023-11-15 03:00 UTC, 0 gaps)
"""

from candelabra.sources.emulator.faults import REST_FAULTS, SOCKET_FAULTS, Faults
from candelabra.sources.emulator.log import Call, SocketFault
from candelabra.sources.emulator.market import EmulatedMarket
from candelabra.sources.emulator.pointing import point_at
from candelabra.sources.emulator.server import Emulator
from candelabra.sources.emulator.vision import write_vision

__all__ = ["REST_FAULTS", "SOCKET_FAULTS", "Call", "EmulatedMarket", "Emulator", "Faults", "SocketFault", "point_at", "write_vision"]
