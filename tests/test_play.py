"""`python -m a3c_fast.play`: in a terminal, into a pipe, until the end and until SIGINT."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import struct
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import PATIENCE, Process, run, start

from a3c_fast import Config, Trainer
from a3c_fast import checkpoint as checkpoints
from a3c_fast.screens import fitted, half_blocks

PLAY = "a3c_fast.play"
COLUMNS, LINES = 72, 20


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained agent on CartPole, which soon drops the pole."""
    path = tmp_path_factory.mktemp("play") / "run"
    with Trainer(Config(env_id="CartPole-v1", num_workers=1, total_steps=1000, run_dir=path)) as trainer:
        trainer.run(100)
    return path


class PseudoTerminal:
    """Of COLUMNS and LINES, and all that was written to it so far."""

    def __init__(self) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self.name = os.ttyname(theirs)
        self._theirs = theirs
        self._content = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self) -> str:
        return bytes(self._content).decode("utf-8", "ignore")

    def close(self) -> str:
        os.close(self._theirs)
        self._thread.join(PATIENCE)
        os.close(self._ours)
        return self.text()

    def _read(self) -> None:
        try:
            while piece := os.read(self._ours, 65536):
                self._content += piece
        except OSError:  # nobody has the other end any more
            pass


def test_a_line_an_episode_where_there_is_no_terminal(run_dir: Path, tmp_path: Path) -> None:
    arguments = (str(run_dir), "--episodes", "2", "--speed", "0", "--seed", "3")
    result = run(PLAY, *arguments, cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    for number, line in enumerate(lines, 1):
        found = re.fullmatch(rf"episode {number}: return (\d+), (\d+) steps", line)
        assert found is not None, line
        assert found[1] == found[2]  # CartPole gives 1 a step
    (newest,) = checkpoints.paths(run_dir / "checkpoints")
    assert run(PLAY, str(newest), *arguments[1:], cwd=tmp_path).stdout == result.stdout


def test_pictures_and_numbers_in_a_terminal(run_dir: Path, tmp_path: Path) -> None:
    terminal = PseudoTerminal()
    result = start(PLAY, str(run_dir), "--episodes", "1", "--speed", "0", cwd=tmp_path, stdout=terminal.name).result()
    text = terminal.close()
    assert (result.status, result.stderr) == (0, "")
    page = text[text.index("\x1b[?1049h") : text.index("\x1b[?1049l")]
    frames = page.split("\x1b[H")[1:]
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in frames[-1].splitlines()]
    picture, status = lines[:-2], lines[-2:]
    assert 0 < len(picture) <= LINES - 2
    assert all(set(line) <= {" ", "▀"} and len(line) <= COLUMNS for line in picture)
    assert any(f"48;2;{shade};{shade};{shade}m" in frames[-1] for shade in (255,))  # CartPole's white
    assert re.match(r"CartPole-v1, step \d+  episode 1  step \d+  return \d+  value -?[0-9.]+", status[0])
    assert re.match(r"(\[left \d+%\]  right \d+%|left \d+%  \[right \d+%\])$", status[1].rstrip())
    after = text[text.index("\x1b[?1049l") :]
    found = re.search(r"episode 1: return (\d+), ", after)
    assert found is not None
    assert len(frames) in (int(found[1]), int(found[1]) + 1)  # the first clears the page, too
    assert "\x1b[?25h" in text  # the cursor comes back


def ended_by_sigint(playing: Process) -> int:
    playing.send(signal.SIGINT)
    return playing.result().status


def test_ctrl_c_puts_the_terminal_back(run_dir: Path, tmp_path: Path) -> None:
    terminal = PseudoTerminal()
    playing = start(PLAY, str(run_dir), cwd=tmp_path, stdout=terminal.name)
    playing.until(lambda: "value" in terminal.text())
    status = ended_by_sigint(playing)
    text = terminal.close()
    assert status == 0
    assert "Traceback" not in text
    assert text.rindex("\x1b[?1049l") > text.rindex("value")
    assert "\x1b[?25h" in text[text.rindex("value") :]


def test_at_the_pace_of_the_environment_times_the_speed(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from a3c_fast import play
    from a3c_fast.evaluate import load_policy
    from a3c_fast.moment import Moment

    shown: list[int] = []
    told: list[tuple[int, float, int]] = []
    slept: list[float] = []

    class Screen:
        def show(self, moment: Moment, episode: int) -> bool:
            shown.append(episode)
            return len(shown) < 200

    now = [100.0]

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", sleep)
    policy, config = load_policy(checkpoints.load_newest(run_dir / "checkpoints"))
    options = {"greedy": False, "speed": 2.0, "seed": 1}
    played = play.play(
        policy,
        config,
        Screen(),  # type: ignore[arg-type]
        episodes=0,
        told=lambda *episode: told.append(episode),
        **options,  # type: ignore[arg-type]
    )
    assert len(shown) == 200
    assert played == len(told) == shown[-1] - 1
    assert [number for number, _, _ in told] == list(range(1, played + 1))
    assert sum(steps for _, _, steps in told) == len([episode for episode in shown if episode <= played])
    assert sum(slept) == pytest.approx(199 / (2 * 50))  # 50 steps a second, twice as fast


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--episodes", "-1"), "episodes is -1"),
        (("--speed", "-1"), "speed is -1"),
        (("--bogus",), "--bogus"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    run_dir: Path, arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from a3c_fast.play import main

    with pytest.raises(SystemExit) as caught:
        main((str(run_dir), *arguments))
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from a3c_fast.play import main

    with pytest.raises(SystemExit) as caught:
        main((str(tmp_path / "missing"),))
    assert caught.value.code == 2
    assert "there is no run in" in capsys.readouterr().err


def test_a_terminal_where_no_library_opens_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    from a3c_fast.output import Output
    from a3c_fast.screens import Lines, Terminal, screen_of

    monkeypatch.setenv("DISPLAY", ":98765")  # nobody's
    for is_terminal, kind in ((True, Terminal), (False, Lines)):
        monkeypatch.setattr(Output, "isatty", lambda _, is_terminal=is_terminal: is_terminal)
        assert type(screen_of(Output(), "", in_terminal=False, ended=lambda: False)) is kind


def test_half_blocks() -> None:
    picture = np.array([[[1, 2, 3], [1, 2, 3]], [[4, 5, 6], [4, 5, 6]]], np.uint8)
    assert half_blocks(picture, 1) == " \x1b[38;2;1;2;3;48;2;4;5;6m▀▀\x1b[0m\x1b[K"


@pytest.mark.parametrize("shape", [(84, 84), (210, 160, 3), (400, 600, 3), (5, 3, 3), (1, 900, 3)])
def test_a_picture_has_room(shape: tuple[int, ...]) -> None:
    found = fitted(np.full(shape, 77, np.uint8), 40, 30)
    height, width, colours = found.shape
    assert colours == 3
    assert height <= 30
    assert width <= 40
    assert height % 2 == 0
    assert (found == 77).all()
