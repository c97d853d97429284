"""Conformance checks for what third parties add, and audits of causality for your own code: run them in your own tests.

>>> from candelabra.testing import check_feature
>>> check_feature("rsi(14)")

Each is loaded from its module when it is first used, so that a plugin can name one without loading the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from candelabra.sources.emulator import REST_FAULTS, SOCKET_FAULTS, EmulatedMarket, Emulator, Faults, point_at
    from candelabra.testing.audits import (
        check_all,
        check_causal,
        check_decisions,
        check_fit,
        check_fresh,
        check_labels,
        check_layers,
        check_split,
        check_streaming,
    )
    from candelabra.testing.broken import LawBroken
    from candelabra.testing.decoders import check_decoder, example_probabilities
    from candelabra.testing.features import check_feature
    from candelabra.testing.files import pickles_in
    from candelabra.testing.forms import FORM_EXAMPLES, check_import, written
    from candelabra.testing.labellers import check_labeller
    from candelabra.testing.markets import example_candles, example_data, example_recipe, perturbed_after, shocked
    from candelabra.testing.models import check_model
    from candelabra.testing.network import LeftTheMachine, loopback_only
    from candelabra.testing.rules import check_rule, example_forecasts

__all__ = [
    "FORM_EXAMPLES",
    "REST_FAULTS",
    "SOCKET_FAULTS",
    "EmulatedMarket",
    "Emulator",
    "Faults",
    "LawBroken",
    "LeftTheMachine",
    "check_all",
    "check_causal",
    "check_decisions",
    "check_decoder",
    "check_feature",
    "check_fit",
    "check_fresh",
    "check_import",
    "check_labeller",
    "check_labels",
    "check_layers",
    "check_model",
    "check_rule",
    "check_split",
    "check_streaming",
    "example_candles",
    "example_data",
    "example_forecasts",
    "example_probabilities",
    "example_recipe",
    "loopback_only",
    "perturbed_after",
    "pickles_in",
    "point_at",
    "shocked",
    "written",
]

_AUDITS: Final = "all causal decisions fit fresh labels layers split streaming"
_DOORS: Final = {
    "LawBroken": "broken",
    "check_feature": "features",
    "check_labeller": "labellers",
    "check_model": "models",
    "pickles_in": "files",
    **dict.fromkeys(("LeftTheMachine", "loopback_only"), "network"),
    **dict.fromkeys(("FORM_EXAMPLES", "check_import", "written"), "forms"),
    **dict.fromkeys(("check_rule", "example_forecasts"), "rules"),
    **dict.fromkeys(("check_decoder", "example_probabilities"), "decoders"),
    **dict.fromkeys(("example_candles", "example_data", "example_recipe", "perturbed_after", "shocked"), "markets"),
    **{f"check_{name}": "audits" for name in _AUDITS.split()},
    **dict.fromkeys(("EmulatedMarket", "Emulator", "Faults", "REST_FAULTS", "SOCKET_FAULTS", "point_at"), "candelabra.sources.emulator"),
}


def __getattr__(name: str) -> Any:
    if name not in _DOORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    room = _DOORS[name]
    found = globals()[name] = getattr(importlib.import_module(room if "." in room else f"{__name__}.{room}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_DOORS})
