"""The errors of the package cross processes and copy, with all that they hold."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pytest
from helpers import PATIENCE

from a3c_fast import CheckpointError, Config, ConfigError, WorkerError


def example(kind: str) -> Exception:
    error: Exception = {
        "config": ConfigError("seed", -1, "it must be a whole number"),
        "checkpoint": CheckpointError("it is damaged"),
        "worker": WorkerError(3, "it hung"),
    }[kind]
    error.add_note("and a note")
    return error


def raise_example(kind: str) -> None:
    raise example(kind)


def make_config(seed: Any) -> Config:
    return Config(seed=seed)


def same(one: BaseException, other: BaseException) -> bool:
    return (type(one), one.args, str(one), vars(one)) == (type(other), other.args, str(other), vars(other))


KINDS = ("config", "checkpoint", "worker")


@pytest.mark.parametrize("kind", KINDS)
def test_it_pickles_and_copies(kind: str) -> None:
    error = example(kind)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert same(pickle.loads(pickle.dumps(error, protocol)), error)
    for copied in (copy.copy(error), copy.deepcopy(error)):
        assert same(copied, error)
        copied.add_note("another")
    assert error.__notes__ == ["and a note"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_it_crosses_processes(kind: str, method: str) -> None:
    context = multiprocessing.get_context(method)
    expected = example(kind)
    with context.Pool(1) as pool, pytest.raises(type(expected)) as caught:
        pool.apply_async(raise_example, (kind,)).get(timeout=PATIENCE)
    assert (str(caught.value), caught.value.args) == (str(expected), expected.args)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        with pytest.raises(type(expected)) as caught:
            executor.submit(raise_example, kind).result(timeout=PATIENCE)
        assert vars(caught.value) == vars(expected)
        assert executor.submit(abs, -1).result(timeout=PATIENCE) == 1  # it is not broken


def test_a_wrong_setting_in_a_pool_is_told_to_the_parent() -> None:
    spawned = multiprocessing.get_context("spawn").Pool(1)
    with spawned as pool, pytest.raises(ConfigError, match="seed is -1, but") as caught:
        pool.map_async(make_config, [1, -1]).get(timeout=PATIENCE)
    assert (caught.value.field, caught.value.value) == ("seed", -1)


class Unreadable:
    """Pickles, and does not come back."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return int, ("no number",)

    def __repr__(self) -> str:
        return "unreadable"


@pytest.mark.parametrize("value", [threading.Lock(), lambda: 1, Unreadable()], ids=["lock", "lambda", "unreadable"])
def test_a_value_that_does_not_pickle_is_its_repr(value: Any) -> None:
    error = ConfigError("seed", value, "it must be a number")
    found = pickle.loads(pickle.dumps(error))
    assert (str(found), found.field, found.value) == (str(error), "seed", repr(value))
    assert copy.copy(error).value is value
    assert copy.deepcopy(error).value is value


def test_the_sentence_is_one_line_of_bounded_length() -> None:
    for value in (np.zeros((30, 30)), list(range(10**4)), 10**5000):
        text = str(ConfigError("seed", value, "it must be a number"))
        assert "\n" not in text
        assert len(text) < 1000


def test_a_class_of_somebody_elses_made_from_one_crosses_too() -> None:
    error = SpecialError("more")
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), found.field, found.more, str(found)) == (SpecialError, "seed", "more", str(error))


class SpecialError(ConfigError):
    def __init__(self, more: str) -> None:
        super().__init__("seed", 1, "it must be 2")
        self.more = more
