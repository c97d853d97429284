"""Damaged files of every form: no exception but ours, no row lost silently."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candelabra.candles import simulate
from candelabra.testing import FORM_EXAMPLES, LawBroken, check_import, written
from candelabra.testing.accidents import mutated

CANDLES = simulate("BTC/USDT", "1h", bars=40, seed=3).candles
FILES = {form: written(form, CANDLES) for form in FORM_EXAMPLES}


def wishes(form: str) -> dict[str, Any]:
    """What a user would have to say about such a file."""
    symbol = None if form in ("wide", "kaggle") else "BTC/USDT"
    return {"symbol": symbol, "timeframe": "1h" if "trades" in form else None}


@pytest.mark.parametrize("form", FILES)
def test_files_that_are_whole_are_kept(form: str) -> None:
    assert check_import(*FILES[form], **wishes(form)) == "kept"


@pytest.mark.parametrize("form", FILES)
@given(random=st.randoms(use_true_random=False), most=st.sampled_from([0.01, 1.0]))
@settings(max_examples=12)
def test_damaged_files_give_our_errors_and_balanced_books(form: str, random: Random, most: float) -> None:
    name, content = FILES[form]
    check_import(name, mutated(content, random), stored=False, most_rejected=most, **wishes(form))


MANY = 20_000 if os.environ.get("CANDELABRA_STORMS") == "full" else 300


@given(content=st.binary(max_size=400), form=st.sampled_from(list(FILES)))
def test_bytes_of_no_kind_give_our_errors(content: bytes, form: str) -> None:
    check_import(FILES[form][0], content, stored=False, **wishes(form))


@pytest.mark.slow
@given(form=st.sampled_from(list(FILES)), random=st.randoms(use_true_random=False), most=st.sampled_from([0.01, 1.0]))
@settings(max_examples=MANY, suppress_health_check=list(HealthCheck), deadline=None)
def test_many_damaged_files(form: str, random: Random, most: float) -> None:
    name, content = FILES[form]
    check_import(name, mutated(content, random), stored=random.random() < 0.1, most_rejected=most, **wishes(form))


def test_the_check_sees_a_row_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from candelabra.sources import import_series

    settle = import_series.settle_candles

    def forgetful(*arguments: Any) -> Any:
        piece = settle(*arguments)
        return type(piece)(tuple(c[1:] for c in piece.columns), piece.kept - 1, piece.left_out, piece.rejected, piece.doubtful)

    monkeypatch.setattr(import_series, "settle_candles", forgetful)
    with pytest.raises(LawBroken, match="40 rows are not 39 kept"):
        check_import(*FILES["plain"], **wishes("plain"))
