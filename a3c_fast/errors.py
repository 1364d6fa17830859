"""The errors that a3c_fast raises on purpose. Each message is one sentence that a user can act on.

All of them cross processes: a worker of a `multiprocessing.Pool` whose error the parent cannot read back is waited for
for ever. They are therefore put together again from their message and fields, not by calling their class, which wants
the arguments that the message was made of.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, Self

_LONGEST_REPR = 500


class _PortableError(Exception):
    """Pickles and copies with its message, its fields and its notes."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _restored, (type(self), self.args, {name: _picklable(value) for name, value in vars(self).items()})

    def __copy__(self) -> Self:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        fields = dict(vars(self))
        if "__notes__" in fields:
            fields["__notes__"] = copy.copy(fields["__notes__"])
        copied: Self = _restored(type(self), self.args, fields)
        return copied


class ConfigError(_PortableError, ValueError):
    """A setting that cannot be: names the field, the value and what is allowed, and the file that says it."""

    def __init__(self, field: str, value: Any, allowed: str, *, source: str = "") -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self.source = source
        where = f" in {source}" if source else ""
        super().__init__(f"{field} is {_shown(value)}{where}, but {allowed}")


class CheckpointError(_PortableError, RuntimeError):
    """A checkpoint that is missing, damaged, or of another network."""


class WorkerError(_PortableError, RuntimeError):
    """A worker failed or hung: `worker` is its index, the message is its own."""

    def __init__(self, worker: int, message: str) -> None:
        self.worker = worker
        super().__init__(f"worker {worker} failed: {message}")


def _restored(cls: type[Any], args: tuple[Any, ...], fields: dict[str, Any]) -> Any:
    error = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(fields)
    return error


def _picklable(value: Any) -> Any:
    """`value`, or its repr where it does not come back from a pickle."""
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:  # whatever a class of somebody else's raises
        return _shown(value)
    return value


def _shown(value: Any) -> str:
    """The repr of a value, cut where it is long; the name of its class where it has none."""
    try:
        text = repr(value)
    except Exception:  # a whole number of more than 4,300 digits, or a class of somebody else's
        return f"an object of class {type(value).__name__}"
    if "\n" in text:  # an array's
        text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REPR else f"{text[: _LONGEST_REPR - 3]}..."
