"""What a notebook shows below the cell that trains. tests/test_examples.py runs one in a kernel where there is one."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from a3c_fast import Config, notebook

CONFIG = Config(env_id="CartPole-v1", total_steps=1_000)
LINE = {"step": 250, "mean_return_100": None, "steps_per_second": 100.0, "wall_seconds": 2.5}


def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not notebook.in_notebook()
    for shell, is_notebook in ((None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert notebook.in_notebook() is is_notebook


def test_the_board_has_bar_numbers_and_curve() -> None:
    html = notebook.page(CONFIG, LINE, [])
    bar = ElementTree.fromstring(html[html.index("<progress") :])
    assert (bar.get("max"), bar.get("value")) == ("1000", "250")
    assert "mean return -" in html
    assert "100 steps/s" in html
    assert "0:00:08 left" in html
    points = [(0, -3.0), (100, 1.0), (250, 9.0)]
    html = notebook.page(CONFIG, {**LINE, "mean_return_100": 9.0, "steps_per_second": 0.0}, points)
    assert "2.5 s of training" in html
    picture = ElementTree.fromstring(html[html.index("<svg") :])
    path = picture.findall("polyline")[0].get("points")
    assert path is not None
    drawn = [tuple(map(float, point.split(","))) for point in path.split()]
    assert drawn == [(0, 116), (192, pytest.approx(116 - 4 / 12 * 112, abs=0.1)), (480, 4)]
    assert [text.text for text in picture.findall("text")] == ["9.0", "-3.0"]


def test_a_long_curve_keeps_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    handle = SimpleNamespace(update=shown.append)
    display = SimpleNamespace(HTML=lambda html: html, display=lambda _, display_id: handle)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(notebook, "_MOST_POINTS", 20)
    board = notebook.Board(CONFIG)
    for step in range(200):
        board.show({**LINE, "step": step, "mean_return_100": float(step)})
    assert not board.is_due()
    picture = ElementTree.fromstring(shown[-1][shown[-1].index("<svg") :])
    path = (picture.findall("polyline")[0].get("points") or "").split()
    assert 10 < len(path) < 40
    assert (path[0], path[-1]) == ("0.0,116.0", "480.0,4.0")
