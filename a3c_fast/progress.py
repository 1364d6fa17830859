"""How far a run is, on standard output: a bar in a terminal, a line every now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from a3c_fast.output import Output

if TYPE_CHECKING:
    from a3c_fast.config import Config

# Seconds after the start at which a line is printed, and the time between two that come later.
_FIRST_LINES = (10.0, 30.0, 60.0)
_BETWEEN_LINES = 60.0


class Progress:
    """A context in which `show` is called a few times a second, and `end` with the numbers of the end.

    `begin` is the `Trainer.stats()` of the start, `clock` a time in seconds.
    """

    def __init__(
        self, output: Output, config: Config, begin: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._output = output
        self._config = config
        self._begin = begin
        self._clock = clock
        self._started = clock()
        self._due = list(_FIRST_LINES)
        self._bar = _bar(output, config.total_steps) if output.isatty() else None

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._output.has_bar = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._output.has_bar = False

    def show(self, line: Mapping[str, Any]) -> None:
        """What there is to see of `Trainer.stats()` at this time."""
        if self._bar is not None:
            self._update_bar(line, line["steps_per_second"])
        elif self._clock() - self._started >= self._due[0]:
            passed = self._clock() - self._started
            while self._due[0] <= passed:  # the machine may have slept
                self._due = self._due[1:] or [self._due[0] + _BETWEEN_LINES]
            self._output.say(
                f"step {line['step']:,} of {self._config.total_steps:,}, {line['steps_per_second']:,.0f} steps/s, "
                f"mean return {_mean(line)}, {time_left(self._config, line, line['steps_per_second'])} left"
            )

    def end(self, line: Mapping[str, Any]) -> None:
        """The last numbers: the bar stays with the rate of the whole time."""
        if self._bar is not None:
            seconds = line["wall_seconds"] - self._begin["wall_seconds"]
            self._update_bar(line, (line["step"] - self._begin["step"]) / seconds if seconds > 0 else 0.0)

    def _update_bar(self, line: Mapping[str, Any], rate: float) -> None:
        assert self._bar is not None
        left = time_left(self._config, line, rate)
        self._bar.update(self._bar.task_ids[0], completed=line["step"], rate=rate, mean=_mean(line), left=left)


def time_left(config: Config, line: Mapping[str, Any], rate: float) -> str:
    """Hours, minutes and seconds until `total_steps` or `max_minutes` at `rate` steps a second."""
    if line["step"] >= config.total_steps:
        return "0:00:00"
    if rate <= 0:
        return "-"
    seconds = (config.total_steps - line["step"]) / rate
    if config.max_minutes:
        seconds = min(seconds, max(0.0, config.max_minutes * 60 - line["wall_seconds"]))
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _mean(line: Mapping[str, Any]) -> str:
    return "-" if line["mean_return_100"] is None else f"{line['mean_return_100']:.1f}"


def _bar(output: Output, total_steps: int) -> Any:
    """rich's bar, as wide as the words leave room for; None where the terminal cannot move its cursor."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    console = Console(file=output)  # type: ignore[arg-type]  # as much of a file as it needs
    if not console.is_interactive:
        return None

    def words(text: str) -> TextColumn:
        return TextColumn(text, table_column=Column(no_wrap=True))

    progress = RichProgress(
        words("{task.completed:>11,.0f} steps"),
        BarColumn(bar_width=None),
        words("{task.fields[rate]:>6,.0f} steps/s  return {task.fields[mean]}  {task.fields[left]} left"),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        refresh_per_second=4,
        expand=True,
        console=console,
        # The streams of the process stay what they are.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    progress.add_task("", total=total_steps, rate=0, mean="-", left="-")
    return progress
