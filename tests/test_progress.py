"""What a run shows, by the kind of stream it is shown on."""

import io

import pytest

from fastconv.display.progress import Progress

ROW = {"epoch": 2, "loss": 0.25, "accuracy": 0.9, "seconds": 1.234, "images_per_second": 12345.6}


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding="utf-8"):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self):
        return True

    def text(self):
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("FASTCONV_QUIET", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def show(stream, verbose=1):
    with Progress(3, 10, verbose=verbose, stream=stream) as progress:
        progress.say("30 images · 3 epochs")
        progress.iteration(30, "loss 0.2500")
        progress.row(ROW)
    return stream


def test_a_file_gets_plain_rows():
    text = show(io.StringIO()).getvalue()
    assert text.splitlines() == [
        "30 images · 3 epochs",
        "  epoch     loss accuracy val_loss val_accuracy seconds  images/s",
        "    2/3   0.2500   0.9000        -            -    1.23    12,346",
    ]


def test_a_terminal_gets_a_bar_as_well():
    text = show(Terminal()).text()
    assert "\x1b[" in text and "30/30" in text and "loss 0.2500" in text
    assert "    2/3   0.2500   0.9000        -            -    1.23    12,346" in text


@pytest.mark.parametrize("verbose, dumb", [(2, False), (1, True)])
def test_rows_only_have_no_control_characters(monkeypatch, verbose, dumb):
    if dumb:
        monkeypatch.setenv("TERM", "dumb")
    text = show(Terminal(), verbose).text()
    assert "\x1b" not in text and "\r" not in text and text.count("\n") == 3


def test_no_color_leaves_the_bar_without_colours(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = show(Terminal()).text()
    assert "30/30" in text and "\x1b[3" not in text and "38;5" not in text


@pytest.mark.parametrize("verbose, environment", [(0, {}), (1, {"FASTCONV_QUIET": "1"}), (2, {"FASTCONV_QUIET": "yes"})])
def test_silence(monkeypatch, verbose, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert show(Terminal(), verbose).text() == ""


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_stream_that_knows_ascii_only_gets_it(verbose):
    assert show(Terminal("ascii"), verbose).text().isascii()


def test_the_stream_may_be_missing(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)  # as under pythonw
    with Progress(1, 1) as progress:
        progress.say("text")
