"""Settings as plain Python values, whatever a program has them in: NumPy scalars, strings of YAML and of the shell."""

from __future__ import annotations

import math
import numbers
import operator
import os
import shlex
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from a3c_fast.errors import ConfigError

_BEYOND_ANY_SETTING = 2**64


def whole(value: Any) -> Any:
    """An int for what is a whole number: an integer of any library, 1e6, "1e6", numpy.float32(3); else `value`.

    True and False are no numbers.
    """
    plain: Any = _scalar(value)
    if isinstance(plain, bool):
        return value
    if isinstance(plain, str):
        plain = _number_in(plain)
    try:
        return operator.index(plain)
    except TypeError:
        pass
    if not _is_real(plain) or not _is_finite(plain) or abs(plain) >= _BEYOND_ANY_SETTING:
        return value
    return int(plain) if int(plain) == plain else value


def real(value: Any) -> Any:
    """A float for what is a real number of any library, or a string of one; else `value`. nan and inf are floats."""
    plain = _scalar(value)
    if isinstance(plain, bool):
        return value
    if isinstance(plain, str):
        plain = _number_in(plain)
    if not _is_real(plain):
        try:
            plain = operator.index(plain)
        except TypeError:
            return value
    try:
        return float(plain)
    except (OverflowError, ValueError):  # a whole number that no float holds, a signalling NaN
        return value


def truth(value: Any) -> Any:
    """A bool for Python's and NumPy's; else `value`."""
    plain = _scalar(value)
    return plain if isinstance(plain, bool) else value


def text(value: Any) -> Any:
    """A str for any kind of string, such as numpy.str_ and members of a string Enum; else `value`."""
    return str.__str__(value) if isinstance(value, str) else value


def sizes(value: Any) -> Any:
    """A tuple for a sequence or a one-dimensional array, of ints where its values are whole; else `value`."""
    if isinstance(value, (str, bytes, bytearray)):
        return value
    is_array = getattr(value, "ndim", None) == 1 and isinstance(value, Iterable)
    if not isinstance(value, Sequence) and not is_array:
        return value
    return tuple(whole(size) for size in value)


def names(value: Any) -> Any:
    """A tuple for a sequence, of str where its values are strings, and for a string alone; else `value`."""
    if isinstance(value, str):
        return (text(value),)
    if isinstance(value, (bytes, bytearray)) or not isinstance(value, Sequence):
        return value
    return tuple(text(name) for name in value)


def path(value: Any) -> Any:
    """An absolute Path for a path, with ~ expanded and links as they are; else `value`.

    Absolute, so that the files stay where they are when the program changes its working directory.
    """
    if not isinstance(value, (str, os.PathLike)):
        return value
    name = os.fspath(value)
    if not isinstance(name, str) or not name or "\0" in name:
        return value
    try:
        return Path(os.path.abspath(os.path.expanduser(name)))  # noqa: PTH100, PTH111  (Path.resolve follows links)
    except OSError:  # the working directory is gone
        return value


def words(arguments: Any) -> list[str]:
    """A command line as a program gives it: strings, paths and numbers, or one string as a shell reads it."""
    if isinstance(arguments, str):
        return shlex.split(arguments)
    return [os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in arguments]


def whole_number(name: str, value: Any, low: int, high: int = 2**31 - 1) -> int:
    """`value` as an int; raises `ConfigError` where it is none from `low` to `high`."""
    plain = whole(value)
    if isinstance(plain, bool) or not isinstance(plain, int) or not low <= plain <= high:
        raise ConfigError(name, said(value, plain), f"it must be a whole number from {low} to {high}")
    return plain


def real_number(name: str, value: Any, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """`value` as a float; raises `ConfigError` where it is none from `low`, or `above` it, to `high`."""
    plain = real(value)
    inside = isinstance(plain, float) and math.isfinite(plain) and (low < plain if above else low <= plain)
    if not inside or plain > high:
        bounds = f"above {low:g}" if above else f"at least {low:g}"
        upper = "" if high == math.inf else f" and at most {high:g}"
        raise ConfigError(name, said(value, plain), f"it must be a number {bounds}{upper}")
    return float(plain)


def said(value: Any, plain: Any) -> Any:
    """What an error shows: the value as it was given, a number for one that was written as a string."""
    return plain if isinstance(value, str) else value


def _scalar(value: Any) -> Any:
    """The Python number in a NumPy scalar or an array without dimensions, of any library; else `value`."""
    item = getattr(value, "item", None)
    if item is None or getattr(value, "ndim", None) != 0:
        return value
    return item()


def _number_in(string: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(string)
        except ValueError:
            continue
    return None


def _is_real(value: Any) -> bool:
    return isinstance(value, (numbers.Real, Decimal))


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except (OverflowError, ValueError):
        return False
