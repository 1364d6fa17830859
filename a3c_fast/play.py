"""`a3c-fast play RUN_DIR`: watch the trained agent play, in a window or in the terminal."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from a3c_fast import cli
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.values import words

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.moment import Moment
    from a3c_fast.observing import Policy
    from a3c_fast.screens import Screen

_PROGRAM = "a3c-fast play"


@dataclass(frozen=True)
class Arguments:
    """Plays the agent of a run at the pace of its environment: in a window where there is a display, else in the
    terminal. Ctrl-C ends it."""

    run_dir: Positional[Path]
    """Directory of the run, or a checkpoint (*.safetensors)."""
    episodes: int = 0
    """Episodes to play; 0 goes on until Ctrl-C, or until the window is closed."""
    greedy: bool = False
    """Take the most probable action instead of sampling."""
    speed: float = 1.0
    """Times the environment's own pace; 0 is as fast as it goes."""
    seed: int = 1
    """Of the first episode; each next one has the next."""
    terminal: bool = False
    """In the terminal, also where there is a display."""


class _Ended(Exception):  # noqa: N818  # no error of anybody's
    """Nobody looks on any more."""


def play(
    policy: Policy,
    config: Config,
    screen: Screen,
    *,
    episodes: int,
    greedy: bool,
    speed: float,
    seed: int,
    told: Callable[[int, float, int], None],
) -> int:
    """Plays on `screen`; the number of whole episodes. `told` hears of each: its number, its return and its steps.

    `episodes` 0 goes on until the screen is closed. Raises as `evaluate`.
    """
    from a3c_fast.envs.drawn import frames_per_second
    from a3c_fast.evaluate import evaluate

    seconds = 0.0 if speed == 0 else 1 / (speed * (frames_per_second(config) or 1))
    due = time.monotonic()
    played = 0

    def show(moment: Moment) -> None:
        nonlocal due
        now = time.monotonic()
        due = max(due, now - seconds)  # what was slow is not made up for
        if (left := due - now) > 0:
            time.sleep(left)
        due += seconds
        if not screen.show(moment, played + 1):
            raise _Ended

    try:
        while episodes == 0 or played < episodes:
            found = evaluate(policy, config, episodes=1, greedy=greedy, seed=seed + played, watch=show)
            played += 1
            told(played, found["mean_return"], round(found["mean_length"]))
    except _Ended:
        pass
    return played


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done, the window closed or Ctrl-C; 2 a flag or run that cannot be; 1 else."""
    of_process = arguments is None
    output = Output(says_so=False)
    if of_process:
        occupy_standard_files()
    try:
        with output.warnings_in_one_line():
            _main(sys.argv[1:] if arguments is None else words(arguments), output)
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


def _main(arguments: Sequence[str], output: Output) -> None:
    from a3c_fast import checkpoint as checkpoints
    from a3c_fast.envs.drawn import frames_per_second
    from a3c_fast.errors import CheckpointError, ConfigError
    from a3c_fast.evaluate import load_policy, no_pictures
    from a3c_fast.paths import shown
    from a3c_fast.screens import screen_of
    from a3c_fast.values import real_number, whole_number

    args = cli.parse(Arguments, arguments, prog=_PROGRAM)
    interrupted = _Interrupt()
    try:
        whole_number("episodes", args.episodes, 0)
        whole_number("seed", args.seed, 0)
        real_number("speed", args.speed, 0)
        place = args.run_dir.expanduser()
        if place.is_dir():
            checkpoint = checkpoints.load_newest(place / "checkpoints")
        elif place.suffix == ".safetensors":
            checkpoint = checkpoints.load(place)
        else:
            raise CheckpointError(f"there is no run in {shown(place)}")
        policy, config = load_policy(checkpoint)
        if not frames_per_second(config):
            raise no_pictures(config)
        title = f"{config.env_id}, step {checkpoint.step:,}"
        with interrupted, screen_of(output, title, in_terminal=args.terminal, ended=interrupted) as screen:
            play(
                policy,
                config,
                screen,
                episodes=args.episodes,
                greedy=args.greedy,
                speed=args.speed,
                seed=args.seed,
                told=screen.tell,
            )
    except (ConfigError, CheckpointError) as error:
        cli.fail(cli.EXIT_BAD_CONFIG, error)
    except (ImportError, RuntimeError, OSError) as error:
        cli.fail(cli.EXIT_FAILED, error)
    raise SystemExit(0)


class _Interrupt:
    """A context in which SIGINT is kept for whoever asks; a second one ends the process."""

    def __init__(self) -> None:
        self._came = False

    def __call__(self) -> bool:
        """Whether it has come."""
        return self._came

    def __enter__(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        self._before = before if before is not None and threading.current_thread() is threading.main_thread() else None
        if self._before not in (None, signal.SIG_IGN):
            signal.signal(signal.SIGINT, self._note)

    def __exit__(self, *_: object) -> None:
        if self._before not in (None, signal.SIG_IGN):
            signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        if self._came:
            os._exit(130)
        self._came = True


if __name__ == "__main__":
    main()
