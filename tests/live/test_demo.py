"""`candelabra demo --live`: a bundle, the loop on an emulated exchange, a picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from candelabra.cli import main
from candelabra.config.build import configure


def test_it_is_for_an_emulated_exchange_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--live", "--candles", "mine.csv"]) == 2
    assert "follows an emulated exchange" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_of_it_in_short(tmp_path: Path) -> None:
    """With an anchor that remembers a month instead of four, so that ten weeks of bars are enough to learn from."""
    from candelabra.live.journal import reading_journal
    from candelabra.live.replay import replay
    from candelabra.pipeline.live_demo import demo_live

    short = {"model.anchor": "har", "baselines": ("historical",), "training.steps": 20}
    made = demo_live(configure({"training.threads": 1}), folder=tmp_path / "demo", seconds=6.0, bars=20_000, regimes=False, changes=short)
    assert made.bars > 100
    page = made.picture.read_text(encoding="utf-8")
    assert "as it was followed" in page
    with reading_journal(made.journal) as journal:
        assert replay(journal).same
        assert len(journal.rows("paper")) == made.bars
        assert len(journal.rows("judged")) > 100
