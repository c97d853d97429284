import pytest

from candelabra.errors import UsageError
from candelabra.windows.recipe import Recipe


def test_a_recipe_survives_json():
    recipe = Recipe("1h", ("4h", "1d"), ("5m",), ("1h", "24h"), "5m", base_features=("return_1",))
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert [t.name for t in recipe.timeframes] == ["5m", "1h", "4h", "1d"]
    assert recipe.purge_ms == 86_400_000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base": "4h", "coarse": ("1h",)}, "not longer than the base"),
        ({"base": "4h", "coarse": ("6h",), "horizons": ("4h",)}, "not made of whole 4h bars"),
        ({"base": "1h", "fine": ("4h",)}, "not shorter than the base"),
        ({"base": "1h", "fine": ("7m",)}, "not made of whole 7m"),
        ({"base": "1h", "horizons": ("90m",)}, "not a whole number"),
        ({"base": "1h", "horizons": ()}, "at least one horizon"),
        ({"base": "1h", "horizons": ("6h", "1h")}, "rising order"),
        ({"base": "1h", "volatility_timeframe": "4h"}, "volatility timeframe 4h is not shorter"),
        ({"base": "1h", "coarse": ("4h", "4h")}, "twice"),
        ({"base": "1x"}, "is not a timeframe"),
        ({"bse": "1h"}, '"base"'),
        ({"base": "1h", "horizon": ("1h",)}, 'did you mean "horizons"'),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(UsageError, match=message):
        Recipe.of(values)
