"""Environments of a user in child processes: what they show and take, how they end, and what breaks in them."""

from __future__ import annotations

import gc
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import user_envs
from children import HERE, children, client_of, modules_of_the_tests, no_child_is_left  # noqa: F401
from helpers import EVALUATE, PATIENCE, TRAIN, popen_cold, read_lines, run_cold, wait_until

from a3c_fast import Config, Trainer, _core, envs
from a3c_fast.envs import processes
from a3c_fast.errors import ConfigError, WorkerError
from a3c_fast.evaluate import evaluate, load_policy


def rows_of(observation: Any) -> tuple[Any, Any]:
    """The image and the numbers of a `Corridor`'s observation, the slow way."""
    place, bits = observation["inside"]
    one_hot = [float(i == place) for i in range(5)]
    numbers = [*one_hot, *map(float, bits), *observation["numbers"].ravel()]
    return observation["image"].transpose(2, 0, 1), np.array(numbers, np.float32)


def test_rows_and_flags_are_those_of_the_environments() -> None:
    client, spec = client_of(user_envs.Corridor, num_envs=3)
    observation = spec.observation
    assert [part.name for part in observation.parts] == ["image", "inside.0", "inside.1", "numbers"]
    assert observation.array_shape == (2, 8, 6)
    assert spec.action == envs.ActionSpec((2,), starts=(3,))
    ours = [user_envs.Corridor() for _ in range(3)]
    seen = [env.reset(seed=i + 1)[0] for i, env in enumerate(ours)]
    over = [False] * 3
    batch = client.recv()
    assert not batch["valid"].any()
    assert batch["starts"].all()
    generator = np.random.default_rng(1)
    ends = 0
    for _ in range(200):
        for i, observed in enumerate(seen):
            image, numbers = rows_of(observed)
            np.testing.assert_array_equal(observation.array_of(batch["observations"])[i], image)
            np.testing.assert_array_equal(observation.numbers_of(batch["observations"])[i], numbers)
        actions = generator.integers(2, size=3)
        client.send(actions)
        batch = client.recv()
        for i, env in enumerate(ours):
            if over[i]:
                seen[i], over[i] = env.reset()[0], False
                flags = (0.0, 0, 1, 0, 0, 1)
            else:
                seen[i], reward, terminated, truncated, _ = env.step(int(actions[i]) + 3)
                over[i] = terminated or truncated
                ends += over[i]
                flags = (np.float32(reward), over[i], not terminated, over[i], 1, 0)
            names = ("reward", "done", "bootstraps", "episode_ended", "valid", "starts")
            assert tuple(batch[name][i] for name in names) == flags
            assert batch["raw_reward"][i] == batch["reward"][i]
    assert ends > 20


@pytest.mark.parametrize(
    ("what", "shapes"),
    [
        ("lists", None),
        ("arrays that do not lie in one piece", None),
        ("other types", None),
        ("(1, 4)", "(1, 4)"),
        ("5 and 3", "(5,)"),
    ],
)
def test_observations_however_they_come(what: str, shapes: str | None) -> None:
    client, spec = client_of(partial(user_envs.Shows, what))
    client.recv()
    for step in range(1, 4):
        client.send(np.zeros(2))
        if shapes is not None:
            with pytest.raises(RuntimeError, match=re.escape(f"the observation has the shape {shapes}, and its space")):
                client.recv()
            return
        rows = spec.observation.numbers_of(client.recv()["observations"])
        np.testing.assert_array_equal(rows, 2 * [[step, 2, 3, 4]])


@pytest.mark.parametrize(
    ("make", "action", "observation"),
    [
        (user_envs.Point, "Box(2) from -2 to 4", "float32[2]"),
        (user_envs.Levers, "MultiDiscrete([3, 3, 2, 2])", "int64[2]"),
        (partial(user_envs.Corridor, length=4), "Discrete(2)", "image uint8[8x6x2]"),
    ],
)
def test_specs(make: Callable[[], Any], action: str, observation: str) -> None:
    client, spec = client_of(make)
    assert str(spec.action) == action
    assert str(spec.observation).startswith(observation)
    del client


def test_what_an_environment_is_given_is_the_action() -> None:
    """Paid as much as in this process, for the same actions."""
    for make in (user_envs.Point, user_envs.Levers):
        client, spec = client_of(make, num_envs=1)
        ours = make()
        ours.reset(seed=1)
        client.recv()
        generator = np.random.default_rng(2)
        for step in range(25):
            if spec.action.is_continuous:
                chosen = generator.uniform(-1.5, 1.5, 2)
                clipped = np.clip(chosen, -1, 1)
                action: Any = {"x": np.array([1 + 3 * clipped[0]], np.float32), "y": (np.array([[clipped[1]]]),)}
            else:
                chosen = generator.integers(spec.action.choices)
                action = (chosen[:2] + 2, chosen[2:].astype(np.int8))
            client.send(chosen)
            batch = client.recv()
            if step % 11 == 10:  # the step after an end
                ours.reset()
                assert batch["reward"][0] == 0
            else:
                assert batch["reward"][0] == pytest.approx(ours.step(action)[1], abs=1e-5)


def test_only_what_is_allowed_is_done() -> None:
    """By a policy that is not trained, by random play and by the measuring of the ceiling; `Doors` refuses the rest."""
    env_id = envs.register(user_envs.Doors)
    spec = processes.spec_of(env_id)
    assert spec.action.masked
    with Trainer(Config(total_steps=3000, num_workers=1), env=user_envs.Doors) as trainer:
        config = trainer.run() and trainer.config
        assert evaluate(trainer.policy(), config, episodes=5)["episodes"] == 5
    assert sum(1 for _ in envs.random_play(config, num_envs=2, steps=30, stream=1)) == 30
    clients = processes.make_clients(env_id, spec, [[1, 2]], PATIENCE)
    assert _core.step_randomly(clients, 200, 1) >= 200
    (client,) = processes.make_clients(env_id, spec, [[1]], PATIENCE)
    mask = client.recv()["action_masks"][0]
    forbidden = np.array([[np.flatnonzero(part == 0)[0] for part in np.split(mask, [4])]])
    with pytest.raises(IndexError, match="is not allowed here by the environment"):
        client.send(forbidden)


def test_a_mask_that_allows_nothing_is_refused() -> None:
    with (
        pytest.raises(WorkerError, match="its action_mask allows nothing"),
        Trainer(Config(num_workers=1, total_steps=1000), env=user_envs.NoWayOut) as trainer,
    ):
        trainer.run()


def test_a_mask_at_an_end_may_allow_nothing() -> None:
    with Trainer(Config(num_workers=1, total_steps=1000), env=user_envs.NothingIsLeft) as trainer:
        assert trainer.run()["step"] >= 1000


@pytest.mark.parametrize("make", [user_envs.several_counters, user_envs.several_counters_that_reset_at_once])
def test_a_vector_environment(make: Callable[[], Any]) -> None:
    """`Counter` n ends after n + 3 steps, every other time by truncation, and shows how many it has made."""
    env_id = envs.register(make)
    assert processes.envs_at_once(env_id) == 3
    spec = processes.spec_of(env_id)
    (client,) = processes.make_clients(env_id, spec, [[1, 2, 3]], PATIENCE)
    at_once = make is user_envs.several_counters_that_reset_at_once
    batch = client.recv()
    steps, episodes = [0] * 3, [0] * 3
    over = [False] * 3
    for _ in range(60):
        client.send(np.zeros(3))
        batch = client.recv()
        shown = spec.observation.numbers_of(batch["observations"])[:, 0]
        for i in range(3):
            if over[i]:
                over[i], steps[i] = False, 0
                assert (batch["valid"][i], batch["starts"][i], batch["reward"][i], shown[i]) == (0, 1, 0, 0)
                continue
            steps[i] += 1
            ended, truncated = steps[i] == i + 3, episodes[i] % 2 == 1
            assert (batch["valid"][i], batch["done"][i], batch["episode_ended"][i]) == (1, ended, ended)
            assert batch["reward"][i] == steps[i]
            if not ended:
                assert (batch["bootstraps"][i], batch["starts"][i], shown[i]) == (1, 0, steps[i])
                continue
            episodes[i] += 1
            if at_once:  # what is still to be expected is added to the reward, see the next test
                assert (batch["bootstraps"][i], batch["starts"][i], shown[i]) == (0, 1, 0)
                steps[i] = 0
            else:
                assert (batch["bootstraps"][i], batch["starts"][i], shown[i]) == (truncated, 0, steps[i])
                over[i] = True
    assert min(episodes) > 5


@pytest.mark.parametrize("lstm_size", [0, 5])
@pytest.mark.parametrize("gae_lambda", [1.0, 0.9])
def test_an_episode_that_is_cut_and_reset_at_once_is_learned_from_as_one_that_is_not(
    gae_lambda: float, lstm_size: int
) -> None:
    """One rollout that ends where the episodes do: the same parameters come of both ways to reset."""
    parameters = []
    for make in (user_envs.cut_at_the_end_of_a_rollout, user_envs.cut_at_the_end_of_a_rollout_and_reset_at_once):
        config = Config(env_id="gymnasium:CartPole-v1").replace(
            env_id=envs.register(make),
            num_workers=1,
            t_max=6,
            envs_per_update=3,
            update_epochs=1,
            total_steps=1000,
            gae_lambda=gae_lambda,
            lstm_size=lstm_size,
            value_coef=0.5,
            learning_rate_decay_power=0.0,
        )
        with Trainer(config) as trainer:
            trainer.run(18)
            assert trainer.stats()["step"] == 18
            parameters.append({name: value.numpy() for name, value in trainer.state_dict().items()})
    for name, value in parameters[0].items():
        np.testing.assert_allclose(value, parameters[1][name], atol=1e-6, err_msg=name)


def test_a_vector_environment_is_as_large_as_it_is() -> None:
    config = Config(total_steps=1000, num_workers=1)
    with pytest.raises(ConfigError, match="it makes 3 environments at once: envs_per_worker must be 3"):
        Trainer(config.replace(envs_per_worker=4), env=user_envs.several_counters)
    with pytest.raises(ConfigError, match="the autoreset_mode in the metadata of its VectorEnv is DISABLED"):
        Trainer(config, env=user_envs.several_that_do_not_reset)
    with Trainer(config, env=user_envs.several_counters) as trainer:
        assert trainer.config.envs_per_worker == 3


def test_gymnasiums_environments_are_stepped_as_gymnasium_does() -> None:
    spec = processes.spec_of("gymnasium:CartPole-v1")
    (client,) = processes.make_clients("gymnasium:CartPole-v1", spec, [[7]], PATIENCE)
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=7)
    rows = spec.observation.numbers_of(client.recv()["observations"])
    for step in range(40):
        np.testing.assert_array_equal(rows[0], observation)
        client.send(np.array([step % 2]))
        batch = client.recv()
        rows = spec.observation.numbers_of(batch["observations"])
        observation, _, terminated, truncated, _ = env.step(step % 2)
        assert batch["done"][0] == (terminated or truncated)
        if batch["done"][0]:
            break
    assert batch["done"][0]
    assert processes.max_episode_steps("gymnasium:CartPole-v1") == 500


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("raises", "the environment raised ValueError: the wheel fell off\n"),
        ("exits", "the environment raised SystemExit: 7"),
        ("exits at once", "the process of the environments exited with status 9"),
        ("is killed", "the process of the environments was killed by signal 9, Killed"),
        ("crashes", "the process of the environments was killed by signal 11, Segmentation fault"),
        ("hangs", "the environments have not stepped within 2 seconds"),
        ("hangs in C", "the environments have not stepped within 2 seconds"),
        ("shows another shape", "the observation has the shape (5,), and its space says (4,)"),
        ("shows nothing", "the environment raised TypeError: cannot unpack non-iterable NoneType object"),
        ("pays a word", "the environment raised ValueError: could not convert string to float: 'much'"),
    ],
)
def test_what_breaks_is_told(how: str, sentence: str) -> None:
    client, _ = client_of(partial(user_envs.Breaks, how), limit=2 if how.startswith("hangs") else PATIENCE)
    client.recv()
    for _ in range(2):
        client.send(np.zeros(2))
        client.recv()
    client.send(np.zeros(2))
    with pytest.raises(RuntimeError) as caught:
        client.recv()
    assert sentence in str(caught.value)
    if how == "raises":
        assert f'{HERE / "user_envs.py"}", line ' in str(caught.value)


def test_what_is_printed_is_no_output_of_the_program(capfd: pytest.CaptureFixture[str]) -> None:
    client, _ = client_of(partial(user_envs.Breaks, "prints"))
    client.recv()
    for _ in range(4):
        client.send(np.zeros(2))
        client.recv()
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", 2 * "a word on standard output\n")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (user_envs.breaks_when_made, "the environment raised OSError: no such level"),
        (user_envs.dies_when_made, "its process ended with status 5 before it was made"),
        (user_envs.no_environment, "what it made, a int, is no environment: it has no reset"),
        (user_envs.with_sequences, "the space Sequence is not supported"),
        (user_envs.with_both_kinds_of_actions, "its actions are choices and numbers together (Discrete, Box)"),
        (user_envs.with_words, "its observations are nothing but text, which is not supported"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(Config(env_id="CartPole-v1"), env=make)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ("user_envs.py" in str(caught.value)) == (make is user_envs.breaks_when_made)


@pytest.mark.parametrize(
    ("env_id", "sentence"),
    [
        ("no_such_module:Thing-v0", "no_such_module cannot be imported: No module named 'no_such_module'"),
        ("gymnasium:NoSuchThing-v0", "gymnasium has nothing of that name, and gymnasium's registry says: "),
        ("user_envs:no_such_thing", "user_envs has nothing of that name, and gymnasium's registry says: "),
        (
            "__main__:make",
            "it must be module:name; what a program makes of its own is given as Trainer(config, env=...)",
        ),
        ("module:<lambda>", "it must be module:name; "),
        ("gymnasium:", "it must be module:name; "),
    ],
)
def test_names_that_are_none(env_id: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(env_id=env_id)
    assert sentence in str(caught.value)


def test_what_cannot_cross_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match="it cannot be sent to the process that makes its environments"):
        Trainer(Config(env_id="CartPole-v1"), env=lambda: lock)
    with pytest.raises(ConfigError, match="env is 3, but it must be a callable that makes one environment"):
        Trainer(Config(env_id="CartPole-v1"), env=3)  # type: ignore[arg-type]


def test_a_process_that_cannot_begin_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        processes.EnvProcess("user_envs:Point", b"", [1])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_callables_of_one_name_are_told_apart() -> None:
    one, other = (envs.register(lambda length=length: user_envs.Corridor(length)) for length in (4, 6))
    assert one != other
    lengths = [processes.spec_of(name).observation.parts[1].values for name in (one, other)]
    assert lengths == [4, 6]
    assert envs.register(user_envs.Corridor) == envs.register(user_envs.Corridor) == "user_envs:Corridor"


@pytest.mark.parametrize(
    ("make", "settings", "goal"),
    [
        (user_envs.Corridor, {"total_steps": 15_000}, 0.6),
        (user_envs.Point, {"total_steps": 60_000}, 8.5),
        (user_envs.Levers, {"total_steps": 40_000}, 7.5),
        (user_envs.Doors, {"total_steps": 20_000}, 9.0),
        (user_envs.several_corridors_that_reset_at_once, {"total_steps": 15_000}, 0.6),
    ],
)
def test_it_learns(make: Callable[[], Any], settings: dict[str, Any], goal: float) -> None:
    config = Config(env_id="gymnasium:CartPole-v1").replace(env_id=envs.register(make), num_workers=1, **settings)
    with Trainer(config) as trainer:
        trainer.run()
        score = evaluate(trainer.policy(), trainer.config, episodes=20, greedy=True)
    assert score["mean_return"] >= goal
    assert score["protocol"]["gymnasium"] == gymnasium.__version__


def test_defaults_are_those_of_its_kind() -> None:
    with Trainer(Config(total_steps=1000), env=user_envs.Point) as trainer:
        config = trainer.config
        assert (config.env_id, config.family, config.total_steps) == ("user_envs:Point", "gymnasium", 1000)
        assert (config.model, config.update_epochs, config.normalize_observations) == ("mlp", 10, True)
        outputs, _ = trainer.policy()(np.zeros((3, 2), np.float32))
        assert outputs.shape == (3, 4)
    assert not children()


def test_a_policy_takes_what_the_environment_shows() -> None:
    with Trainer(Config(total_steps=1000, model="mlp"), env=user_envs.Corridor) as trainer:
        observation, _ = user_envs.Corridor().reset()
        outputs, value = trainer.policy()(observation)
    assert (outputs.shape, value.shape) == ((2,), ())


def test_the_command_trains_goes_on_and_evaluates(tmp_path: Path) -> None:
    shutil.copy(HERE / "user_envs.py", tmp_path)  # where the command is run
    run_dir = tmp_path / "run"
    flags = ["--env-id", "user_envs:Corridor", "--total-steps", "4000", "--run-dir", str(run_dir)]
    for steps in ("4000", "6000"):
        done = run_cold(TRAIN, *flags[:2], "--total-steps", steps, "--run-dir", str(run_dir), "--resume", cwd=tmp_path)
        assert done.status == 0, done
    score = run_cold(EVALUATE, str(run_dir), "--episodes", "3", "--json", cwd=tmp_path)
    assert json.loads(score.stdout)["episodes"] == 3


def test_one_worker_and_one_seed_are_one_run() -> None:
    config = Config(env_id="gymnasium:CartPole-v1", num_workers=1, total_steps=3000, seed=5)
    parameters = []
    for _ in range(2):
        with Trainer(config) as trainer:
            trainer.run()
            parameters.append({name: value.numpy() for name, value in trainer.state_dict().items()})
    for name, value in parameters[0].items():
        np.testing.assert_array_equal(value, parameters[1][name])


@pytest.mark.parametrize("how", ["raises", "is killed", "hangs"])
def test_a_run_ends_with_the_sentence(how: str) -> None:
    config = Config(env_id="CartPole-v1", num_workers=2, watchdog_seconds=2, total_steps=10**9)
    make = partial(user_envs.Breaks, how, at=300)
    with Trainer(config, env=make) as trainer, pytest.raises(WorkerError) as caught:
        trainer.run()
    sentences = {"raises": "the wheel fell off", "is killed": "killed by signal 9", "hangs": "within 1.9 seconds"}
    assert sentences[how] in str(caught.value)


def test_it_goes_on_while_python_is_busy() -> None:
    """The interpreter is held for two seconds at a time; the workers and the children do not care."""
    with Trainer(Config(env_id="gymnasium:CartPole-v1", num_workers=1, total_steps=10**9)) as trainer:
        trainer.start()
        wait_until(lambda: trainer.stats()["step"] > 0)
        before = trainer.stats()["step"]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e6)
        try:
            for _ in range(20):  # fewer than the steps of a rollout: that many chances to take the GIL are not enough
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    math.factorial(10)
                if trainer.stats()["step"] > before:
                    break
        finally:
            sys.setswitchinterval(interval)
        assert trainer.stats()["step"] > before


@pytest.mark.parametrize("how", ["nothing", "hangs", "hangs in C"])
def test_children_end_with_a_parent_that_is_killed(how: str, tmp_path: Path) -> None:
    script = f"""
import user_envs, functools, sys
from a3c_fast import Config, Trainer
if __name__ == "__main__":
    make = functools.partial(user_envs.Breaks, {how!r})
    trainer = Trainer(Config(env_id="CartPole-v1", num_workers=2, total_steps=10**9), env=make)
    trainer.start()
    print("runs", flush=True)
    trainer.wait()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == b"runs\n"
    pids = children_of(process.pid)
    assert len(pids) == 2
    time.sleep(0.5)  # into the hang
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_what_a_program_made_must_be_given_again(tmp_path: Path) -> None:
    script = """
import sys
from a3c_fast import Config, Trainer
from user_envs import Point
class Mine(Point):
    pass
with Trainer(Config(total_steps=1000, run_dir="run", resume=True, num_workers=1), env=Mine) as trainer:
    trainer.run()
    print(trainer.kind, trainer.config.env_id)
"""
    for kind in ("new", "resumed"):
        done = subprocess.run(
            [sys.executable, "-c", script.replace("1000", "1000" if kind == "new" else "2000")],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, f"{kind} __main__:Mine\n"), done
    refused = run_cold(EVALUATE, "run", cwd=tmp_path)
    assert refused.status == 2
    assert "what a program makes of its own is given as Trainer(config, env=...)" in refused.error


def test_a_forks_copy_ends_nobodys_children() -> None:
    client, _ = client_of(user_envs.Breaks)
    client.recv()
    child = os.fork()
    if child == 0:
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    client.send(np.zeros(2))
    client.recv()
    assert len(children()) == 1


def test_ctrl_c_is_the_parents(tmp_path: Path) -> None:
    shutil.copy(HERE / "user_envs.py", tmp_path)
    flags = ["--env-id", "user_envs:Point", "--total-steps", "1000000000", "--run-dir", "run"]
    process = popen_cold(TRAIN, *flags, cwd=tmp_path)
    wait_until(lambda: len(read_lines(tmp_path / "run")) >= 1)
    for pid in (process.pid, *children_of(process.pid)):
        os.kill(pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stderr) == (130, "")


def children_of(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def test_a_policy_of_a_run_is_loaded_with_its_environment(tmp_path: Path) -> None:
    with Trainer(Config(total_steps=1000, run_dir=tmp_path / "run", num_workers=1), env=user_envs.Levers) as trainer:
        trainer.run()
    from a3c_fast import checkpoint as checkpoints

    policy, config = load_policy(checkpoints.load_newest(tmp_path / "run" / "checkpoints"))
    assert config.env_id == "user_envs:Levers"
    outputs, _ = policy(np.array([1, 3]))
    assert outputs.shape == (10,)
