"""What the programs share: their own flags beside those of training, and errors in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from a3c_fast.cli import EXIT_BAD_CONFIG, EXIT_FAILED, fail, parse_known, said
from a3c_fast.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from a3c_fast.config import Config

T = TypeVar("T")


@contextlib.contextmanager
def errors_in_one_sentence() -> Iterator[None]:
    """Ends the program with 2 for a setting that cannot be, and with 1 where something failed."""
    try:
        yield
    except (ConfigError, CheckpointError) as error:
        fail(EXIT_BAD_CONFIG, error)
    except (ImportError, RuntimeError, OSError) as error:
        fail(EXIT_FAILED, error)


def check_positive(args: object, *names: str) -> None:
    """Raises `ConfigError` for a number, or one of several, that is not above 0."""
    for name in names:
        value = getattr(args, name)
        if not all(number > 0 for number in (value if isinstance(value, tuple) else (value,))):
            raise ConfigError(name, value, "it must be greater than 0")


def parse_with_training(cls: type[T], prog: str, *, sets: Sequence[str] = ()) -> tuple[T, Config]:
    """A program's own flags, and those of `a3c-fast train`, without a run directory.

    Raises `ConfigError` for the settings that the program `sets` itself, for a run directory, which none keeps, and
    for those that would end a run, which the programs do by rules of their own.
    """
    from a3c_fast.config import Config

    args, given = parse_beside_training(cls, prog, sets={"run_dir": "keeps none", **dict.fromkeys(sets, _SETS)})
    return args, Config(**given)


_SETS = "sets it itself"
_ENDS_A_RUN = ("max_minutes", "stop_at_return", "stop_at_evaluation", "evaluate_patience")


def parse_beside_training(cls: type[T], prog: str, *, sets: Mapping[str, str]) -> tuple[T, dict[str, Any]]:
    """A program's own flags, and those of `a3c-fast train` as they were said.

    Raises `ConfigError` for what the program `sets` itself, in these words, and for settings that would end a run.
    """
    from a3c_fast.config import Config, plain_value

    args, rest = parse_known(cls, prog=prog)
    given = said(Config, rest, prog=prog)
    for name, how in sets.items():
        if name in given:
            raise ConfigError(name, given[name], f"{prog} {how}")
    if given.pop("resume", False):
        raise ConfigError("resume", True, f"{prog} ends its runs by rules of its own")
    for name in _ENDS_A_RUN:
        value = None if given.get(name) is None else plain_value(name, given[name])
        if value not in (0, None):
            raise ConfigError(name, value, f"{prog} ends its runs by rules of its own")
    return args, given
