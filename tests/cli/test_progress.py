"""Progress: what a log says, what a terminal shows, and that nothing goes to stdout."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from candelabra.cli.progress import Bars, Lines, reporter
from candelabra.progress import Reporter, Silent


def journey(progress: Reporter) -> None:
    with progress.stage("outer", total=2):
        progress.advance(1)
        with progress.stage("inner"):
            progress.advance(5, loss=0.25)
        progress.note("something worth keeping")
        progress.advance(1, validation=0.5)
    progress.advance(1)


def test_a_log_gets_a_line_for_each_stage_and_note() -> None:
    stream = io.StringIO()
    journey(Lines(stream))
    inner, note, outer = stream.getvalue().splitlines()
    assert inner.strip().startswith("inner: ")
    assert "loss 0.25" in inner
    assert note.strip() == "note: something worth keeping"
    assert outer.startswith("outer: ")
    assert "validation 0.5" in outer


def test_a_long_stage_says_how_far_it_is_and_how_long_it_takes() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every_seconds=0)
    with lines.stage("train", total=4):
        lines.advance(1, loss=2.0)
    first = stream.getvalue().splitlines()[0]
    assert first.startswith("train: 25 %")
    assert "left" in first
    assert "loss 2" in first


def test_a_stage_that_fails_says_so_and_lets_the_error_through() -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    with pytest.raises(ValueError, match="no"), lines.stage("outer"), lines.stage("train"):
        raise ValueError("no")
    assert "train: stopped after" in stream.getvalue()
    with lines.stage("next"):
        pass
    assert stream.getvalue().splitlines()[-1].startswith("next: ")


def test_bars_leave_lines_of_outer_stages_and_notes() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120, highlight=False, color_system=None)
    with Bars(console).shown() as bars:
        journey(bars)
    text = stream.getvalue()
    assert "note: something worth keeping" in text
    assert "outer: 0." in text
    assert "validation 0.5" in text
    assert "inner: 0." not in text


def test_bars_survive_an_error() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with pytest.raises(ValueError, match="no"), Bars(console).shown() as bars, bars.stage("outer"), bars.stage("inner"):
        raise ValueError("no")


def test_progress_goes_to_stderr_and_is_silent_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter() as progress:
        journey(progress)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "outer: " in captured.err
    with reporter(quiet=True) as progress:
        assert isinstance(progress, Silent)
        journey(progress)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [Silent(), Lines(io.StringIO()), Bars(Console(file=io.StringIO()))])
def test_every_kind_is_a_reporter(kind: object) -> None:
    assert isinstance(kind, Reporter)
