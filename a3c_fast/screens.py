"""Where an agent is watched at play: a window, a terminal in half blocks of 24-bit colours, or lines of text."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from a3c_fast.imports import import_matplotlib
from a3c_fast.video import Frame

if TYPE_CHECKING:
    from a3c_fast.moment import Moment
    from a3c_fast.output import Output

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[2J", "\x1b[0m\x1b[?25h\x1b[?1049l"
_STATUS_LINES = 2


class Screen(Protocol):
    """A context in which moments are shown."""

    def show(self, moment: Moment, episode: int) -> bool:
        """Shows a moment of an episode, counted from 1; False where nobody looks on any more."""

    def tell(self, episode: int, episode_return: float, steps: int) -> None:
        """That an episode has ended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def screen_of(output: Output, title: str, *, in_terminal: bool, ended: Callable[[], bool]) -> Screen:
    """A window where there is a display, else a terminal, else lines of text. `ended` says when to stop."""
    if not in_terminal and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        window = Window.if_possible(output, title, ended)
        if window is not None:
            return window
    return Terminal(output, title, ended) if output.isatty() else Lines(output, ended)


class Lines:
    """No pictures: a line for each episode, where the output is no terminal."""

    def __init__(self, output: Output, ended: Callable[[], bool]) -> None:
        self._output = output
        self._ended = ended

    def show(self, moment: Moment, episode: int) -> bool:
        """Shows nothing."""
        return not self._ended() and self._output.lost is None

    def tell(self, episode: int, episode_return: float, steps: int) -> None:
        """Prints the line."""
        self._output.say(f"episode {episode}: return {episode_return:g}, {steps:,} steps")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class Terminal(Lines):
    """Pictures in half blocks, two pixels a character, on the terminal's other page; the first one comes back after."""

    def __init__(self, output: Output, title: str, ended: Callable[[], bool]) -> None:
        super().__init__(output, ended)
        self._title = title
        self._size: os.terminal_size | None = None
        self._told: list[str] = []

    def show(self, moment: Moment, episode: int) -> bool:
        """Draws the picture and the status lines."""
        size = shutil.get_terminal_size()
        head = "\x1b[H" if size == self._size else "\x1b[0m\x1b[2J\x1b[H"
        self._size = size
        picture = fitted(moment.picture, size.columns, 2 * max(1, size.lines - _STATUS_LINES))
        pad = (size.columns - picture.shape[1]) // 2
        self._output.write(head + half_blocks(picture, pad) + "\n" + self._status(moment, episode, size.columns))
        self._output.flush()
        return super().show(moment, episode)

    def tell(self, episode: int, episode_return: float, steps: int) -> None:
        """Keeps the line for the first page."""
        self._told.append(f"episode {episode}: return {episode_return:g}, {steps:,} steps")

    def __enter__(self) -> Self:
        self._output.write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.write(_LEAVE)
        self._output.flush()
        for line in self._told:
            self._output.say(line)

    def _status(self, moment: Moment, episode: int, columns: int) -> str:
        first = (
            f"{self._title}  episode {episode}  step {moment.step:,}  return {moment.episode_return:g}  "
            f"value {moment.value:.3g}"
        )
        bars = []
        for bar in moment.bars:
            size = f"{bar.size:+.2f}" if moment.is_continuous else f"{100 * bar.size:.0f}%"
            bars.append(
                f"[{bar.name} {size}]" if bar.mark == 1.0 and not moment.is_continuous else f"{bar.name} {size}"
            )
        lines = [line[:columns] for line in (first, "  ".join(bars))]
        return "\x1b[0m" + "\n".join(f"{line}\x1b[K" for line in lines)


class Window(Lines):
    """A window of matplotlib's: the frames of a video."""

    def __init__(self, output: Output, title: str, ended: Callable[[], bool], pyplot: Any, figure: Any) -> None:
        super().__init__(output, ended)
        self._pyplot = pyplot
        self._figure = figure
        self._frame = Frame()
        self._episode = 0
        self._image: Any = None
        figure.canvas.manager.set_window_title(title)

    @classmethod
    def if_possible(cls, output: Output, title: str, ended: Callable[[], bool]) -> Window | None:
        """None where matplotlib has no library that opens windows, or the display takes none."""
        import_matplotlib()
        from matplotlib import pyplot

        try:
            with pyplot.rc_context({"toolbar": "None"}):
                figure = pyplot.figure(figsize=(9, 5), facecolor="#121211")
        except Exception:  # each library has its own
            return None
        if not getattr(figure.canvas, "required_interactive_framework", None):
            pyplot.close(figure)
            return None
        return cls(output, title, ended, pyplot, figure)

    def show(self, moment: Moment, episode: int) -> bool:
        """Draws the frame; False once the window is closed."""
        if episode != self._episode:
            self._episode, self._frame = episode, Frame()
        picture = self._frame.draw(moment)
        if self._image is None:
            axes = self._figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            self._image = axes.imshow(picture, interpolation="nearest")
            self._figure.show()
        self._image.set_data(picture)
        self._figure.canvas.draw_idle()
        self._figure.canvas.flush_events()
        return bool(self._pyplot.fignum_exists(self._figure.number)) and super().show(moment, episode)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pyplot.close(self._figure)


def fitted(picture: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    """A picture in colour that is as large as has room in so many pixels, and an even number of them high."""
    from PIL import Image

    if picture.ndim == 2:
        picture = np.repeat(picture[:, :, None], 3, axis=2)
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, int(picture.shape[1] * scale)), max(2, int(picture.shape[0] * scale) // 2 * 2))
    way = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, way))


def half_blocks(picture: npt.NDArray[np.uint8], pad: int = 0) -> str:
    """Lines of the character of which the upper half is one pixel and the lower half another."""
    lines = []
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist(), strict=True):
        text, before = [" " * pad], None
        for over, under in zip(upper, lower, strict=True):
            if (over, under) != before:  # a terminal keeps its colours
                text.append(f"\x1b[38;2;{over[0]};{over[1]};{over[2]};48;2;{under[0]};{under[1]};{under[2]}m")
                before = (over, under)
            text.append("▀")
        lines.append("".join(text) + "\x1b[0m\x1b[K")
    return "\n".join(lines)
