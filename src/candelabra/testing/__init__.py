"""Conformance checks for what third parties add: run them in your own tests, as candelabra runs them on everything it registers.

>>> from candelabra.testing import check_feature
>>> check_feature("rsi(14)")
"""

from candelabra.testing.broken import LawBroken
from candelabra.testing.features import check_feature
from candelabra.testing.files import pickles_in
from candelabra.testing.forms import FORM_EXAMPLES, check_import, written
from candelabra.testing.markets import example_candles, example_data, example_recipe, perturbed_after, shocked
from candelabra.testing.models import check_model
from candelabra.testing.rules import check_rule, example_forecasts

__all__ = [
    "FORM_EXAMPLES",
    "LawBroken",
    "check_feature",
    "check_import",
    "check_model",
    "check_rule",
    "example_candles",
    "example_data",
    "example_forecasts",
    "example_recipe",
    "perturbed_after",
    "pickles_in",
    "shocked",
    "written",
]
