"""`Account`: purse, costs, leverage and standing orders of a backtest, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError

__all__ = ["Account"]


@dataclass(frozen=True)
class Account:
    """What it costs to trade and how far one may go; shares are fractions (0.001 = 10 basis points).

    ``taker``: fee on orders at the open and on stops; ``maker``: on take-profit orders, which rest in the book. ``slippage``: how much
    worse than the price such an order fills; ``slippage_volatility``: added to it, times the volatility of one bar known
    at the decision (both together at most a half).
    ``funding``: rate per ``funding_hours`` that longs pay to shorts. ``leverage``: the exposure that a target of 1 asks for, as a multiple
    of equity; below ``maintenance`` x exposure all is liquidated at ``liquidation_fee`` on top of the taker's. ``stop`` and ``take``:
    distance of the stop loss and of the take-profit order from the fill that opened a position, None for none.

    >>> Account(taker=0.001, slippage=0.0005).per_side
    0.0015
    """

    purse: float = 1.0
    taker: float = 0.001
    maker: float = 0.0005
    slippage: float = 0.0005
    slippage_volatility: float = 0.0
    funding: float = 0.0
    funding_hours: float = 8.0
    leverage: float = 1.0
    maintenance: float = 0.005
    liquidation_fee: float = 0.005
    stop: float | None = None
    take: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is not None and not math.isfinite(value):
                raise UsageError(f"account.{name} = {value}: a finite number is needed")
        for name in ("taker", "maker", "slippage", "maintenance", "liquidation_fee"):
            value = getattr(self, name)
            if not 0.0 <= value < 0.5:
                raise UsageError(f"account.{name} = {value}: a share from 0 to 0.5 is needed, as in 0.001 for 10 basis points")
        if not 0.0 <= self.slippage_volatility <= 10.0:
            raise UsageError(
                f"account.slippage_volatility = {self.slippage_volatility}: a multiple of the volatility from 0 to 10 is needed"
            )
        for name in ("purse", "funding_hours", "leverage"):
            if getattr(self, name) <= 0.0:
                raise UsageError(f"account.{name} = {getattr(self, name)}: a number above 0 is needed")
        if abs(self.funding) >= 0.1:
            raise UsageError(f"account.funding = {self.funding}: a rate per {self.funding_hours:g} hours below 0.1 is needed, as in 0.0001")
        if self.maintenance * self.leverage >= 1.0:
            raise UsageError(
                f"a leverage of {self.leverage:g} leaves no room above a maintenance margin of {self.maintenance:g}: every position would "
                f"be liquidated as it opens; stay below a leverage of {1.0 / self.maintenance:g}"
            )
        if self.stop is not None and not 0.0 < self.stop < 1.0:
            raise UsageError(f"account.stop = {self.stop}: a distance between 0 and 1 is needed, as in 0.02 for 2 %")
        if self.take is not None and not self.take > 0.0:
            raise UsageError(f"account.take = {self.take}: a distance above 0 is needed, as in 0.04 for 4 %")

    @property
    def per_side(self) -> float:
        """What an order costs of its value: taker's fee and fixed slippage."""
        return self.taker + self.slippage

    def vector(self) -> NDArray[np.float64]:
        """The parameters of the kernel, in its order (`kernel.PARAMETERS`)."""
        return np.array(
            [
                self.purse,
                self.leverage,
                self.maker,
                self.taker,
                self.slippage,
                self.slippage_volatility,
                self.stop or 0.0,
                self.take or 0.0,
                self.maintenance,
                self.liquidation_fee,
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)
