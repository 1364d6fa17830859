"""The extension a3c_fast_steps beside what Python would write."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from a3c_fast_steps import Stepper


class Memory:
    """What a child shares, of `num_envs` environments that show float32[3]."""

    def __init__(self, num_envs: int) -> None:
        self.over = bytearray(num_envs)
        self.rewards = np.full(num_envs, -1.0)
        self.flags = np.full(num_envs, 99, np.uint8)
        self.rows = np.full((num_envs, 3), -1, np.float32)

    def stepper(self, steps: Any) -> Stepper:
        views = [memoryview(array).cast("B") for array in (self.flags, self.rows)]
        return Stepper(tuple(steps), self.over, memoryview(self.rewards), *views, "f", (3,))


SHOWN = np.array([1, 2, 3], np.float32)
USUAL = (SHOWN, 0.5, False, False, {})


@pytest.mark.parametrize(
    ("result", "flags"),
    [
        (USUAL, 0),
        ((SHOWN, np.float64(0.5), np.bool_(True), False, {}), 1),
        ((SHOWN, 0.5, False, True, {}), 2),
        ((SHOWN.astype(np.float64), 0.5, 1, 1, None), 3),
    ],
)
def test_a_usual_result_is_written(result: Any, flags: int) -> None:
    memory, told = Memory(2), []
    stepper = memory.stepper(
        [lambda action: told.append(action) or result, lambda action: told.append(action) or USUAL]
    )
    assert stepper.step(["a", "b"], 0) is None
    assert told == ["a", "b"]
    np.testing.assert_array_equal(memory.rows, [SHOWN, SHOWN])
    assert (memory.flags.tolist(), memory.rewards.tolist()) == ([flags, 0], [0.5, 0.5])
    assert memory.over == bytes([flags != 0, 0])


@pytest.mark.parametrize(
    "result",
    [
        None,
        USUAL[:4],
        [*USUAL],
        (SHOWN, 1, False, False, {}),  # Python makes a float of it
        (SHOWN, "much", False, False, {}),
        (SHOWN, 0.5, np.zeros(2), False, {}),  # whose truth is ambiguous
        (SHOWN.tolist(), 0.5, False, False, {}),
        (SHOWN[None], 0.5, False, False, {}),
        (SHOWN[:2], 0.5, False, False, {}),
        (np.repeat(SHOWN, 2)[::2], 0.5, False, False, {}),
        (SHOWN.astype(np.int32), 0.5, False, False, {}),
        (SHOWN.astype(">f4"), 0.5, False, False, {}),
    ],
    ids=repr,
)
def test_an_unusual_result_is_handed_back(result: Any) -> None:
    memory = Memory(3)
    stepper = memory.stepper([lambda _: USUAL, lambda _: result, lambda _: USUAL])
    left = stepper.step([0, 0, 0], 0)
    assert left is not None
    assert left[0] == 1
    assert left[1] is result
    assert memory.flags.tolist() == [0, 99, 99]
    assert stepper.step([0, 0, 0], 2) is None
    assert memory.flags.tolist() == [0, 99, 0]
    assert (memory.rows[1] == -1).all()


def test_one_that_is_over_is_not_stepped() -> None:
    memory = Memory(2)
    stepper = memory.stepper([lambda _: USUAL, None])
    memory.over[1] = True
    assert stepper.step([0, 0], 0) == (1, None)


def test_what_is_raised_comes_through() -> None:
    def breaks(action: Any) -> Any:
        raise ValueError("the wheel fell off")

    with pytest.raises(ValueError, match="the wheel fell off"):
        Memory(1).stepper([breaks]).step([0], 0)


def test_what_does_not_fit_is_refused() -> None:
    memory = Memory(2)
    with pytest.raises(ValueError, match="the memory does not fit the environments"):
        memory.stepper([lambda _: USUAL])
    stepper = memory.stepper(2 * [lambda _: USUAL])
    for arguments in (([0], 0), ((0, 0), 0), ([0, 0],)):
        with pytest.raises(TypeError):
            stepper.step(*arguments)  # type: ignore[arg-type, call-arg]
    with pytest.raises(IndexError):
        stepper.step([0, 0], -1)


def test_nothing_is_kept() -> None:
    memory = Memory(1)
    unusual = (SHOWN, 1, False, False, {})
    before = [sys.getrefcount(thing) for thing in (SHOWN, USUAL, unusual, None)]
    for result in (USUAL, unusual):
        stepper = memory.stepper([lambda _, result=result: result])
        for _ in range(1000):
            stepper.step([0], 0)
        del stepper
    after = [sys.getrefcount(thing) for thing in (SHOWN, USUAL, unusual, None)]
    assert all(abs(a - b) < 100 for a, b in zip(before, after, strict=True))
    memoryview(memory.over).release()
    memory.over.append(0)  # which an exported buffer would forbid
