"""Videos of an agent at play: its environment in colour, what it sees of it, its value and what it chooses among."""

from __future__ import annotations

import os
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    from a3c_fast.moment import Bar, Moment

Picture = npt.NDArray[np.uint8]

_LARGE = 400  # pixels that a small picture's longer side is brought to, about
_MOST = 1280  # and that a large one's may have
_PANEL = 280  # pixels in width
_MARGIN = 14
_ROW = 18  # of a bar
_MOST_BARS = 18
_SEEN = 168  # pixels of what the agent sees, about
_PAST = 240  # values that are drawn
_PAPER, _INK, _FAINT, _COLOR, _TAKEN = (18, 18, 17), (244, 243, 239), (138, 137, 130), (57, 135, 229), (236, 131, 58)
# Of a GIF each frame has its own colours: ffmpeg then keeps no other frame.
_GIF = ["-filter_complex", "[0:v]split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"]


def check(path: Path) -> None:
    """Raises what would otherwise be known when the episode has been played."""
    if find_spec("imageio_ffmpeg") is None:
        raise ImportError("a video needs imageio-ffmpeg: install a3c-fast with the extra `video`")
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise ConfigError("video", str(path), "it must end in .mp4 or .gif")
    if not path.parent.is_dir():
        raise ConfigError("video", str(path), f"{path.parent} is no directory")
    if path.exists() and not _is_video(path):
        raise ConfigError("video", str(path), "there is a file that is no video: choose another name")


def _is_video(path: Path) -> bool:
    """By how MP4 and GIF begin."""
    with path.open("rb") as file:
        begin = file.read(12)
    return begin[4:8] == b"ftyp" or begin[:4] == b"GIF8"


class Video:
    """A context that writes frames to a file (.mp4, .gif) one by one, and keeps none of them.

    The file has its name when it is whole; an exception leaves what was there.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        self._path = path
        self._pace = frames_per_second
        self._frame = Frame()
        self._temporary = path.with_name(f".a3c_fast.{os.getpid()}.{os.urandom(4).hex()}{path.suffix.lower()}")
        self._writer: Any = None

    def add(self, moment: Moment) -> None:
        """The next frame. Raises `RuntimeError` in one sentence where ffmpeg cannot write it."""
        picture = self._frame.draw(moment)
        if self._writer is None:
            self._writer = self._begin(picture.shape[1], picture.shape[0])
        try:
            self._writer.send(picture.tobytes())
        except OSError as error:
            raise self._failure(str(error).splitlines()[0]) from error

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
            if error is None:
                if not self._temporary.exists() or not self._temporary.stat().st_size:
                    raise self._failure("it wrote nothing")
                self._temporary.replace(self._path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _begin(self, width: int, height: int) -> Any:
        import imageio_ffmpeg

        is_gif = self._path.suffix.lower() == ".gif"
        writer = imageio_ffmpeg.write_frames(
            str(self._temporary),
            (width, height),
            fps=self._pace,
            codec="gif" if is_gif else "libx264",
            pix_fmt_out="pal8" if is_gif else "yuv420p",
            quality=None if is_gif else 7,
            macro_block_size=2,
            ffmpeg_log_level="error",
            output_params=_GIF if is_gif else ["-movflags", "+faststart"],
        )
        writer.send(None)
        return writer

    def _failure(self, reason: str) -> RuntimeError:
        return RuntimeError(f"ffmpeg could not write {self._path}: {reason}")


class Frame:
    """Draws moments of one episode, all in the same size: even numbers of pixels, as codecs like it."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=_PAST)
        self._size: tuple[int, int] | None = None  # width and height of the first

    def draw(self, moment: Moment) -> Picture:
        """[height, width, 3] of a moment, the newest."""
        from PIL import Image, ImageDraw, ImageFont

        self._values.append(moment.value)
        picture = _enlarged(_in_colour(moment.picture))
        bars = _shown(moment.bars)
        seen = None if moment.seen is None else _enlarged(_in_colour(moment.seen), _SEEN)
        if self._size is None:
            panel = 110 + _ROW * len(bars) + (0 if seen is None else len(seen) + 34) + 2 * _MARGIN
            height = max(picture.shape[0], panel)
            self._size = (picture.shape[1] + _PANEL) // 2 * 2, (height + 1) // 2 * 2
        width, height = self._size
        image = Image.new("RGB", (width, height), _PAPER)
        left = width - _PANEL
        image.paste(Image.fromarray(picture), (max(0, (left - picture.shape[1]) // 2), (height - len(picture)) // 2))
        draw = ImageDraw.Draw(image)
        draw.rectangle((left, 0, width, height), fill=_PAPER)
        font, small = ImageFont.load_default(15), ImageFont.load_default(12)
        x, right, y = left + _MARGIN, width - _MARGIN, _MARGIN
        draw.text((x, y), f"return {moment.episode_return:,.5g}", fill=_INK, font=font)
        draw.text((right, y + 2), f"step {moment.step:,}", fill=_FAINT, font=small, anchor="ra")
        draw.text((x, y + 24), f"value {moment.value:.3g}", fill=_COLOR, font=font)
        self._draw_values(draw, (x, y + 48, right, y + 92))
        y += 104
        for bar in bars:
            _draw_bar(draw, bar, (x, y, right), small, is_continuous=moment.is_continuous)
            y += _ROW
        if seen is not None and y + 24 + len(seen) <= height:
            draw.text((x, y + 8), "what the agent sees", fill=_FAINT, font=small)
            image.paste(Image.fromarray(seen), (x, y + 28))
        return np.asarray(image)

    def _draw_values(self, draw: Any, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = box
        low, high = min(self._values), max(self._values)
        room = (high - low) or 1.0
        step = (right - left) / (_PAST - 1)
        points = [
            (left + i * step, bottom - (value - low) / room * (bottom - top)) for i, value in enumerate(self._values)
        ]
        draw.line((left, bottom, right, bottom), fill=(51, 50, 47))
        if len(points) > 1:
            draw.line(points, fill=_COLOR, width=2)


def _draw_bar(draw: Any, bar: Bar, at: tuple[int, int, int], font: Any, *, is_continuous: bool) -> None:
    left, y, right = at
    taken = bar.mark is not None and not is_continuous
    draw.text((left, y + 1), bar.name, fill=_TAKEN if taken else _INK, font=font)
    begin, end = left + 104, right - 38
    draw.rectangle((begin, y + 4, end, y + 13), fill=(41, 41, 38))
    if is_continuous:
        middle, half = (begin + end) / 2, (end - begin) / 2
        place = middle + half * max(-1.0, min(1.0, bar.size))
        draw.rectangle((min(middle, place), y + 4, max(middle, place), y + 13), fill=_COLOR)
        if bar.mark is not None:
            mark = middle + half * max(-1.0, min(1.0, bar.mark))
            draw.rectangle((mark - 1, y + 2, mark + 1, y + 15), fill=_TAKEN)
        text = f"{bar.size:.2f}"
    else:
        share = max(0.0, min(1.0, bar.size))
        if share > 0:
            draw.rectangle((begin, y + 4, begin + share * (end - begin), y + 13), fill=_TAKEN if taken else _COLOR)
        text = f"{100 * share:.0f}%"
    draw.text((right, y + 1), text, fill=_FAINT, font=font, anchor="ra")


def _shown(bars: tuple[Bar, ...]) -> tuple[Bar, ...]:
    """The first, and of many choices the most probable: as many as there is room for."""
    if len(bars) <= _MOST_BARS:
        return bars
    return tuple(sorted(bars, key=lambda bar: -abs(bar.size))[:_MOST_BARS])


def _in_colour(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2))


def _enlarged(picture: Picture, size: int = _LARGE) -> Picture:
    """In whole pixels, to about `size` in its longer side; what is too large is made smaller."""
    longest = max(picture.shape[:2])
    times = max(1, round(size / longest))
    if times > 1:
        return picture.repeat(times, axis=0).repeat(times, axis=1)
    if longest <= _MOST:
        return picture
    from PIL import Image

    height, width = (round(extent * _MOST / longest) for extent in picture.shape[:2])
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
