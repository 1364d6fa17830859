"""Settings as functions of the agent step: `Config(schedules={"learning_rate": linear(7e-4, 0)})`."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c_fast import values
from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    from a3c_fast.config import Config

# What may change while a run is under way, and so follow a schedule: cpp/run/live_settings.h.
LIVE_FIELDS = ("learning_rate", "entropy_coef", "value_coef", "clip_coef", "max_grad_norm")

_END = "end"  # of the run, in the place of a step
_FORM = "name=value@step,value@step ..., such as learning_rate=7e-4@0,1e-4@5e6,0@end"
_MOST_STEPS = 2**62


@dataclass(frozen=True)
class Schedule:
    """A number that depends on the agent step: straight from point to point, constant before and after them.

    `linear`, `points` and `constant` make one. As a string it is what `--schedules` takes.
    """

    points: tuple[tuple[int | None, float], ...]
    """(agent step, value), by rising steps; the last step may be None, which is the `total_steps` of the run."""

    def __post_init__(self) -> None:
        plain = _plain_points(self.points)
        if plain is None:
            raise ValueError(
                f"points is {self.points!r}, but it must be pairs of an agent step and a finite number, by rising "
                "steps; the step of the last may be None, which is the end of the run"
            )
        object.__setattr__(self, "points", plain)

    def at(self, step: int, total_steps: int) -> float:
        """Its value at an agent step of a run of so many."""
        through = self.through(total_steps)
        after = bisect.bisect_right([of for of, _ in through], step)
        if after in (0, len(through)):
            return through[min(after, len(through) - 1)][1]
        (first, low), (last, high) = through[after - 1 : after + 1]
        return low + (step - first) / (last - first) * (high - low)

    def through(self, total_steps: int) -> list[tuple[int, float]]:
        """Its points in a run of so many agent steps: without the one at the end where the others go as far."""
        known = [(step, value) for step, value in self.points if step is not None]
        last_step, last_value = self.points[-1]
        if last_step is None and (not known or known[-1][0] < total_steps):
            known.append((total_steps, last_value))
        return known

    def __str__(self) -> str:
        return ",".join(f"{value!r}@{_END if step is None else step}" for step, value in self.points)


def linear(first: float, last: float, steps: int | None = None) -> Schedule:
    """From `first` at the begin of a run straight to `last` after `steps` agent steps, by default at its end."""
    return Schedule(((0, first), (steps, last)))


def points(*pairs: tuple[int | None, float]) -> Schedule:
    """Straight from each (agent step, value) to the next; a last step of None is the end of the run."""
    return Schedule(tuple(pairs))


def constant(value: float) -> Schedule:
    """The same from the begin to the end, without the decay that the setting may have by default."""
    return Schedule(((0, value),))


def parse(text: str) -> Schedule | None:
    """The inverse of `str`: value@step,value@step ...; None for what is none."""
    pairs: list[tuple[Any, Any]] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\S+?)\s*@\s*(\S+)\s*", part)
        if match is None:
            return None
        value, step = match.groups()
        pairs.append((None if step == _END else step, value))
    plain = _plain_points(pairs)
    return None if plain is None else Schedule(plain)


def plain_schedules(given: Any) -> Any:
    """`Config.schedules` as it is kept, strings "name=value@step,..."; what cannot be understood as it was given.

    A mapping from names to schedules, their strings or numbers, or such strings.
    """
    if isinstance(given, Mapping):
        return tuple(f"{name}={_plain(value)}" for name, value in sorted(given.items(), key=str))
    if isinstance(given, str):
        given = given.split()
    if not isinstance(given, Iterable):
        return given
    return tuple(_canonical(item) for item in given)


def checked(given: Any) -> dict[str, Schedule]:
    """The schedules of `Config.schedules` by setting. Raises `ConfigError` for what cannot be."""
    if not isinstance(given, tuple):
        raise ConfigError("schedules", given, f"it must be a mapping from settings to schedules, or strings {_FORM}")
    found: dict[str, Schedule] = {}
    for item in given:
        name, _, text = item.partition("=") if isinstance(item, str) else ("", "", "")
        if not text or (schedule := parse(text)) is None:
            raise ConfigError("schedules", item, f"it must be {_FORM}")
        if name not in LIVE_FIELDS:
            raise ConfigError("schedules", item, f"only {', '.join(LIVE_FIELDS)} can follow a schedule")
        if name in found:
            raise ConfigError("schedules", item, f"{name} has another one already")
        found[name] = schedule
    return found


# What a schedule takes the place of.
REPLACED: Mapping[str, tuple[str, ...]] = {
    "learning_rate": ("learning_rate", "learning_rate_decay_power", "learning_rate_warmup"),
    "entropy_coef": ("entropy_coef", "entropy_decay_steps", "entropy_final_fraction"),
    "value_coef": ("value_coef",),
    "clip_coef": ("clip_coef",),
    "max_grad_norm": ("max_grad_norm",),
}


def without_schedule(name: str) -> dict[str, Any]:
    """Changes for `Config.replace` that leave the setting `name` to a schedule: what it replaces, as if not said."""
    return dict.fromkeys(REPLACED[name])


def check_schedules(config: Config, defaults: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for schedules that cannot be, and for settings that they take the place of."""
    for name, schedule in checked(config.schedules).items():
        for _, value in schedule.points:
            if name == "clip_coef" and not 0 < value <= 1:
                raise ConfigError("schedules", f"{name}={schedule}", f"{name} must be above 0 and at most 1")
            if value < 0 or (name != "max_grad_norm" and value > 1e3):
                most = "" if name == "max_grad_norm" else " and at most 1000"
                raise ConfigError("schedules", f"{name}={schedule}", f"{name} must be at least 0{most}")
        for replaced in REPLACED[name]:
            value = getattr(config, replaced)
            if value != defaults[replaced]:
                raise ConfigError(replaced, value, f"{name} follows the schedule {schedule}: leave one of them out")


def _canonical(item: Any) -> Any:
    if not isinstance(item, str):
        return item
    name, _, text = str.__str__(item).partition("=")
    schedule = parse(text)
    return item if schedule is None else f"{name.strip()}={schedule}"


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        schedule = parse(value)
        return value if schedule is None else schedule
    number = values.real(value)
    if isinstance(number, float) and math.isfinite(number):
        return constant(number)
    if isinstance(value, Schedule):
        return value
    plain = _plain_points(value)
    return value if plain is None else Schedule(plain)


def _plain_points(given: Any) -> tuple[tuple[int | None, float], ...] | None:
    """As a `Schedule` keeps them; None where they cannot be."""
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        return None
    plain: list[tuple[int | None, float]] = []
    for pair in given:
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            return None
        step, value = None if pair[0] is None else values.whole(pair[0]), values.real(pair[1])
        if not isinstance(value, float) or not math.isfinite(value):
            return None
        if step is not None and (isinstance(step, bool) or not isinstance(step, int) or not 0 <= step < _MOST_STEPS):
            return None
        if plain and (plain[-1][0] is None or (step is not None and step <= plain[-1][0])):
            return None
        plain.append((step, value))
    return tuple(plain)
