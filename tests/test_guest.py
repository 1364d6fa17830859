"""a3c_fast in another program: independent of what that has set, and leaving it as it was."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import observation_spec
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from a3c_fast import ActorCritic, Config, Trainer
from a3c_fast.envs import ActionSpec
from a3c_fast.evaluate import evaluate

FAKE = "a3c_fast/Fake-v0"
SETTINGS: list[dict[str, Any]] = [
    {"env_id": FAKE, "total_steps": 3000},
    {"env_id": "a3c_fast/Recall-v0", "total_steps": 2000, "lstm_size": 16},
    {"env_id": "a3c_fast/FakeImage-v0", "total_steps": 600, "model": "paper", "lstm_size": 8, "precision": "fp32"},
]


class FunctionMode(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"the program's mode saw {function}")


class DispatchMode(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"the program's mode saw {function}")


@contextlib.contextmanager
def setting(set_to: Callable[[Any], None], value: Any, before: Any) -> Any:
    set_to(value)
    try:
        yield
    finally:
        set_to(before)


def _enable_onednn(enabled: bool) -> None:
    torch.backends.mkldnn.enabled = enabled  # type: ignore[assignment]


def _precision_of_everything(name: str) -> None:
    torch.backends.fp32_precision = name  # type: ignore[attr-defined]


PROGRAMS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: setting(torch.set_default_dtype, torch.float16, torch.float32),
    "bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "inference mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default device": lambda: setting(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "anomaly": torch.autograd.detect_anomaly,
    "matmul precision": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "precision of everything": lambda: setting(_precision_of_everything, "bf16", "none"),
    "without oneDNN": lambda: setting(_enable_onednn, False, True),
    "function mode": FunctionMode,
    "dispatch mode": DispatchMode,
    "fake tensors": FakeTensorMode,
    "saved tensors": lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x * 0, lambda x: x),
}


def everything(settings: dict[str, Any]) -> tuple[Any, Any, ActorCritic]:
    """What a run learned, the same loaded again, and its network."""
    config = Config(num_workers=1, seed=3, **settings)
    with Trainer(config) as trainer:
        trainer.run()
        trained = trainer.state_dict()
        policy = trainer.policy()
        trainer.load_state_dict(trained)
        again = trainer.state_dict()
    return trained, again, policy


def bits(trained: Any, again: Any, policy: ActorCritic) -> list[bytes]:
    """To be called where torch is as usual."""
    for parameter in policy.parameters():
        assert parameter.requires_grad
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert not parameter.is_inference()
    return [named[name].numpy().tobytes() for named in (trained, again, policy.state_dict()) for name in trained]


@pytest.fixture(scope="module")
def expected() -> list[list[Any]]:
    return [bits(*everything(settings)) for settings in SETTINGS]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
def test_what_is_learned_does_not_depend_on_the_programs_torch(program: str, expected: list[list[Any]]) -> None:
    with PROGRAMS[program]():
        found = [everything(settings) for settings in SETTINGS]
    assert [bits(*one) for one in found] == expected


def test_a_vmap_and_a_gradient_around_a_trainer() -> None:
    expected = bits(*everything(SETTINGS[0]))
    found = []

    def inside(x: torch.Tensor) -> torch.Tensor:
        found.append(everything(SETTINGS[0]))
        return x.sum()

    torch.vmap(inside)(torch.ones(2, 3))
    torch.func.grad(inside)(torch.ones(3))
    assert [bits(*one) for one in found] == [expected] * 2


@pytest.mark.parametrize("program", ["float64", "inference mode", "autocast", "default device", "dispatch mode"])
def test_an_evaluation_does_not_depend_on_the_programs_torch(program: str) -> None:
    config = Config(env_id="CartPole-v1", num_workers=1)
    with Trainer(config) as trainer:
        policy = trainer.policy()

    class Own(ActorCritic):
        pass

    own = copy.deepcopy(policy)
    own.__class__ = Own  # a module of somebody's own is not taken to our kernels
    expected = [evaluate(module, config, episodes=3)["mean_return"] for module in (policy, own)]
    with PROGRAMS[program]():
        assert [evaluate(module, config, episodes=3)["mean_return"] for module in (policy, own)] == expected


def test_the_programs_settings_of_torch_are_put_back() -> None:
    def settings() -> list[Any]:
        onednn = torch.backends.mkldnn
        return [
            torch.get_float32_matmul_precision(),
            onednn.matmul.fp32_precision,  # type: ignore[attr-defined]
            onednn.conv.fp32_precision,  # type: ignore[attr-defined]
            onednn.enabled,
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
        ]

    for program in ("no_grad", "matmul precision", "precision of everything", "without oneDNN", "float64"):
        with PROGRAMS[program]():
            before = settings()
            with Trainer(Config(env_id=FAKE, total_steps=2000, num_workers=2)) as trainer:
                trainer.run()
                trainer.policy()
            assert settings() == before, program


def test_random_numbers_stay() -> None:
    def states() -> list[Any]:
        numpy_state = np.random.get_state()
        return [torch.get_rng_state().tolist(), [str(part) for part in numpy_state], random.getstate()]

    config = Config(env_id="CartPole-v1", num_workers=2, total_steps=2000)
    before = states()
    with Trainer(config) as trainer:
        trainer.run()
        evaluate(trainer.policy(), config, episodes=2)
    ActorCritic("mlp", observation_spec((4,)), ActionSpec((2,)), lstm_size=3)
    assert states() == before


_SNAPSHOT = """
import faulthandler, gc, json, locale, logging, os, resource, signal, sys, threading, warnings
import numpy, torch, torch.utils.tensorboard  # what these do themselves when they are imported is theirs

def snapshot():
    handlers = lambda logger: [logger.level, logger.handlers[:], logger.disabled]
    mask = os.umask(0)
    os.umask(mask)
    return {
        "environment": dict(os.environ),
        "filters": warnings.filters[:],
        "showwarning": warnings.showwarning,
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "logging": [handlers(logging.root), logging.root.manager.disable, logging.getLoggerClass()],
        "hooks": [sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook, sys.breakpointhook],
        "import": [sys.path[:], sys.meta_path[:], sys.path_hooks[:]],
        "streams": [sys.stdin, sys.stdout, sys.stderr],
        "interpreter": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.gettrace(), sys.getprofile()],
        "collector": [gc.isenabled(), gc.get_threshold(), gc.callbacks[:], gc.get_freeze_count()],
        "locale": locale.setlocale(locale.LC_ALL),
        "process": [mask, os.getcwd(), os.nice(0), os.sched_getaffinity(0), faulthandler.is_enabled()],
        "limits": [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "numpy": [str(numpy.get_printoptions()), numpy.geterr(), [str(x) for x in numpy.random.get_state()]],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch": [torch.get_default_dtype(), torch.get_rng_state().tolist()],
        "arithmetic": [torch.get_float32_matmul_precision(), (torch.tensor([1e-42]) * 1).item()],
    }

before = snapshot()

def compare(after_what):
    now = snapshot()
    for name, value in before.items():
        if now[name] != value:
            print(after_what, name, value, now[name])
"""


def test_nothing_global_changes(tmp_path: Path) -> None:
    code = f"""{_SNAPSHOT}
from a3c_fast import Config, Trainer
compare("import")
config = Config(env_id="CartPole-v1", num_workers=2, total_steps=4000, run_dir={str(tmp_path / "run")!r})
compare("Config")
trainer = Trainer(config)
compare("Trainer")
trainer.run()
compare("run")
policy = trainer.policy()
compare("policy")
from a3c_fast.evaluate import evaluate
evaluate(policy, config, episodes=2)
compare("evaluate")
trainer.save({str(tmp_path / "x.safetensors")!r})
compare("save")
trainer.close()
compare("close")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no-such-backend", "svg", None])
def test_a_backend_of_matplotlib_does_not_matter_and_stays(backend: str | None) -> None:
    code = """
import json, os
from a3c_fast import Config
Config(env_id="Pong-v5")
import matplotlib, matplotlib.pyplot
kept = {name: os.environ.get(name) for name in ("MPLBACKEND", "MPLCONFIGDIR")}
print(json.dumps([kept, matplotlib.rcParams._get_backend_or_none()]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MPL")}
    environment |= {} if backend is None else {"MPLBACKEND": backend}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    kept, found = json.loads(done.stdout)
    assert kept == {"MPLBACKEND": backend, "MPLCONFIGDIR": None}
    assert found == (backend if backend == "svg" else None)


def test_the_commands_do_not_mind_the_backend_of_a_notebook(tmp_path: Path) -> None:
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}

    def command(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), arguments

    command("a3c_fast.train", "--env-id", "CartPole-v1", "--total-steps", "500", "--run-dir", "run")
    assert (tmp_path / "run" / "curve.png").exists()
    command("a3c_fast.evaluate", "run", "--episodes", "1", "--json")
    command("a3c_fast.train", "--help")
    command("a3c_fast.evaluate", "--help")


def policy_of(**settings: Any) -> tuple[Trainer, ActorCritic]:
    trainer = Trainer(Config(num_workers=1, **settings))
    return trainer, trainer.policy()


def test_a_policy_takes_arrays_tensors_and_single_observations() -> None:
    trainer, policy = policy_of(env_id=FAKE)
    batch = np.random.default_rng(1).normal(size=(5, 4)).astype("f")
    logits, values = policy(torch.from_numpy(batch))
    assert (logits.shape, values.shape) == ((5, 3), (5,))
    read_only, reversed_ = batch.copy(), batch[::-1]
    read_only.flags.writeable = False
    for same in (
        batch,
        batch.astype("d"),
        read_only,
        batch.astype(">f4"),
        batch.tolist(),
        torch.tensor(batch).double(),
    ):
        assert torch.equal(policy(same)[0], logits)
    assert torch.equal(policy(reversed_)[0], policy(reversed_.copy())[0])
    # Up to rounding: on some CPUs LibTorch's products depend on where in a batch a sample lies.
    torch.testing.assert_close(policy(reversed_)[0], logits.flip(0), atol=1e-6, rtol=1e-5)
    for single in (batch[2], torch.from_numpy(batch[2]), batch[2].tolist()):
        one, value = policy(single)
        assert (one.shape, value.shape) == ((3,), ())
        assert torch.allclose(one, logits[2])
    assert policy(np.ones((2, 4), np.int64))[0].shape == (2, 3)
    assert policy(batch[:0])[0].shape == (0, 3)
    trainer.close()
    trainer, policy = policy_of(env_id="a3c_fast/FakeImage-v0", model="paper", lstm_size=8)
    images = np.random.default_rng(1).integers(0, 256, (3, 4, 84, 84)).astype(np.uint8)
    logits, values, state = policy.step(images, policy.initial_state(3))
    assert torch.equal(policy.step(images, state.detach().numpy())[0], policy.step(torch.from_numpy(images), state)[0])
    one, _, state = policy.step(images[0], None)
    assert (one.shape, state.shape) == ((6,), (1, 16))
    assert policy.step(images[0], state)[0].shape == (6,)
    trainer.close()


@pytest.mark.parametrize(
    ("observations", "error", "text"),
    [
        (np.zeros((2, 5), "f"), ValueError, r"observations have the shape \[2, 5\], and it must be \[4\], or \[N, 4\]"),
        (np.zeros((2, 2, 4), "f"), ValueError, r"shape \[2, 2, 4\]"),
        (np.float32(1), ValueError, r"shape \[\]"),
        (np.zeros(4, "complex64"), TypeError, "observations are complex64"),
        (torch.zeros(4, dtype=torch.complex64), TypeError, "observations are complex64"),
        (np.array(["a"] * 4), TypeError, "observations are <U1"),
        (np.array([None] * 4), TypeError, "observations are object"),
        (None, TypeError, "observations are object"),
        (np.zeros(4, bool), TypeError, "observations are bool"),
    ],
)
def test_observations_of_another_kind(observations: Any, error: type[Exception], text: str) -> None:
    trainer, policy = policy_of(env_id=FAKE)
    with pytest.raises(error, match=text):
        policy(observations)
    trainer.close()


def test_images_must_be_bytes() -> None:
    trainer, policy = policy_of(env_id="a3c_fast/FakeImage-v0", model="paper")
    with pytest.raises(TypeError, match="observations are float32, and this network was trained on uint8"):
        policy(np.zeros((1, 4, 84, 84), "f"))
    trainer.close()


def test_parameters_of_any_real_type_are_taken() -> None:
    with Trainer(Config(env_id=FAKE, num_workers=1)) as trainer:
        own = {name: (value * 8).round() for name, value in trainer.state_dict().items()}
        forms: list[Callable[[torch.Tensor], Any]] = [
            lambda x: x.numpy(),
            lambda x: x.numpy().astype("d"),
            lambda x: x.numpy().astype(">f8"),
            lambda x: x.numpy().tolist(),
            lambda x: x.double().requires_grad_(),
            lambda x: x.bfloat16(),
            lambda x: x.half(),
            lambda x: x.long(),
            lambda x: torch.nn.Parameter(x.clone()),
            lambda x: x.numpy().astype(np.longdouble),
        ]
        for form in forms:
            trainer.load_state_dict({name: form(value) for name, value in own.items()})
            assert all(torch.equal(value, own[name]) for name, value in trainer.state_dict().items())
        policy = pickle.loads(pickle.dumps(copy.deepcopy(trainer.policy())))
        trainer.load_state_dict(policy.state_dict())
        trainer.load_state_dict(dict(policy.named_parameters()))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda x: x.double() + 1e300, ValueError),
        (lambda x: x.double().numpy() + 1e300, ValueError),
        (lambda x: x.double().numpy() - 1e39, ValueError),
        (lambda x: x * torch.nan, ValueError),
        (lambda x: x.numpy().astype(np.longdouble) + np.longdouble("1e4000"), ValueError),
        (lambda x: x.to(torch.complex64), TypeError),
        (lambda x: x.numpy().astype("D"), TypeError),
        (lambda x: x.numpy().astype(object), TypeError),
        (lambda x: np.full(x.shape, 10**400), TypeError),
        (lambda x: x.numpy().astype(str), TypeError),
        (lambda x: x.bool(), TypeError),
        (lambda x: x.to_sparse(), TypeError),
        (lambda x: x.to("meta"), TypeError),
        (lambda x: None, TypeError),
        (lambda x: x[:1], ValueError),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_parameters_that_cannot_be_are_refused_by_name(change: Callable[[Any], Any], error: type[Exception]) -> None:
    with Trainer(Config(env_id=FAKE, num_workers=1)) as trainer:
        own = trainer.state_dict()
        with pytest.raises(error, match=r"fc2\.weight"):
            trainer.load_state_dict({**own, "fc2.weight": change(own["fc2.weight"])})
        assert all(torch.equal(value, own[name]) for name, value in trainer.state_dict().items())
        with pytest.raises(TypeError, match="has no names"):
            trainer.load_state_dict([1, 2])  # type: ignore[arg-type]
