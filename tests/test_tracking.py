"""Trackers that a program has of its own: what they hear of a run, and that none of them stops one."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE, PATIENCE, TRAIN, python, run, wait_until

from a3c_fast import Config, ConfigError, RunInfo, Tracker, Trainer, courier, trackers, tracking
from a3c_fast import checkpoint as checkpoints

FOREVER = 10**12


class Recorder(Tracker):
    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.threads: set[int] = set()

    def start(self, run: RunInfo) -> None:
        self.heard.append(("start", run))
        self.threads.add(threading.get_ident())

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.heard.append(("log", dict(values), step))
        self.threads.add(threading.get_ident())

    def finish(self, reason: str) -> None:
        self.heard.append(("finish", reason))
        self.threads.add(threading.get_ident())

    @property
    def run(self) -> RunInfo:
        assert isinstance(self.heard[0][1], RunInfo)
        return self.heard[0][1]

    def logged(self, tag: str) -> list[tuple[int, float]]:
        return [(step, values[tag]) for _, values, step in self.heard[1:-1] if tag in values]


def config_of(**settings: Any) -> Config:
    return Config(**{"env_id": FAKE, "num_workers": 1, "total_steps": 20_000, "log_every_seconds": 0.05, **settings})


def test_a_tracker_hears_of_the_whole_run_in_a_thread_of_its_own(tmp_path: Path) -> None:
    recorder = Recorder()
    config = config_of(run_dir=tmp_path / "run", hidden_sizes=(32, 16))
    with Trainer(config, trackers=[recorder]) as trainer:
        assert recorder.heard == []
        trainer.run(10_000)
        trainer.run()
        stats = trainer.stats()
    assert [heard[0] for heard in recorder.heard] == ["start", *["log"] * (len(recorder.heard) - 2), "finish"]
    assert len(recorder.threads) == 1
    assert threading.get_ident() not in recorder.threads
    assert (recorder.run.name, recorder.run.first_step, recorder.run.run_dir) == ("run", 0, tmp_path / "run")
    settings = recorder.run.settings
    assert (settings["env_id"], settings["hidden_sizes"], settings["learning_rate"]) == (
        FAKE,
        "32, 16",
        config.learning_rate,
    )
    assert recorder.run.said == {"env_id", "seed", "hidden_sizes", "total_steps"}
    assert not {"run_dir", "resume", "log_every_seconds", "track"} & set(settings)
    assert recorder.logged("rollout/ep_rew_mean")[-1] == (stats["step"], stats["mean_return_100"])
    assert recorder.logged("train/entropy_loss")[-1] == (stats["step"], -stats["entropy"])
    assert recorder.logged("time/total_timesteps")[-1] == (stats["step"], stats["step"])
    assert recorder.heard[-1] == ("finish", "total_steps")


def test_single_episodes_are_told_at_a_bounded_rate() -> None:
    recorder = Recorder()
    with Trainer(config_of(total_steps=FOREVER), trackers=[recorder]) as trainer:
        trainer.start()
        wait_until(lambda: trainer.stats()["wall_seconds"] > 1.2)
        trainer.stop()
        stats = trainer.stats()
    told = recorder.logged("rollout/ep_len")
    assert 2 <= len(told) <= 2 + 2 * stats["wall_seconds"] + 10
    assert len(told) < stats["episodes"]
    assert all(length > 0 and 0 <= step <= stats["step"] for step, length in told)
    assert len(recorder.logged("rollout/ep_rew")) == len(told)


def test_the_score_of_an_evaluation_is_told(tmp_path: Path) -> None:
    recorder = Recorder()
    config = config_of(env_id="CartPole-v1", evaluate_every=10_000, evaluate_episodes=2, run_dir=tmp_path)
    with Trainer(config, trackers=[recorder]) as trainer:
        trainer.run()
    found = [json.loads(line) for line in (tmp_path / "evaluations.jsonl").read_text().splitlines()]
    told = recorder.logged("eval/mean_reward")
    assert told == [(line["step"], line["mean_return"]) for line in found]
    assert told


@pytest.mark.parametrize("where", ["start", "log", "finish"])
@pytest.mark.parametrize("error", [RuntimeError("no network"), SystemExit(3)], ids=["error", "exit"])
def test_a_tracker_that_raises_is_told_of_once_and_ends_nothing(
    tmp_path: Path, where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, other = Recorder(), Recorder()

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(recorder, where, fail)
    with (
        pytest.warns(RuntimeWarning, match=rf"the tracker Recorder failed in {where}\(\)") as caught,
        Trainer(config_of(run_dir=tmp_path), trackers=[recorder, other]) as trainer,
    ):
        trainer.run()
    warnings = [str(warning.message) for warning in caught]
    assert sum("failed in" in warning for warning in warnings) == 1
    assert sum("has not got" in warning for warning in warnings) == (where == "log")
    assert checkpoints.load_newest(tmp_path / "checkpoints").step >= 20_000
    assert other.heard[-1] == ("finish", "total_steps")
    names = [heard[0] for heard in recorder.heard]
    if where == "start":
        assert names == []  # it is not called again
    if where == "log":
        assert names == ["start", "finish"]


class Blocked(Recorder):
    """Hangs in one of its methods until it is let go."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.entered, self.may_go_on = threading.Event(), threading.Event()
        method = getattr(self, where)

        def blocked(*arguments: Any) -> None:
            self.entered.set()
            self.may_go_on.wait()
            method(*arguments)

        setattr(self, where, blocked)


@contextlib.contextmanager
def blocked(where: str) -> Iterator[Blocked]:
    tracker = Blocked(where)
    try:
        yield tracker
    finally:
        tracker.may_go_on.set()
        name = "a3c_fast tracker Blocked"
        wait_until(lambda: not any(thread.name == name for thread in threading.enumerate()))


@pytest.mark.parametrize("where", ["start", "log", "finish"])
def test_a_tracker_that_hangs_delays_nothing_but_close_and_that_for_no_longer_than_it_may(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_FINISH_SECONDS", 0.2)
    other = Recorder()
    with blocked(where) as tracker:
        trainer = Trainer(config_of(), trackers=[tracker, other])
        trainer.run()
        assert trainer.wait(PATIENCE)
        with pytest.warns(
            RuntimeWarning, match=r"the tracker Blocked has not finished within 0\.2 s and is left behind"
        ):
            trainer.close()
        assert tracker.entered.is_set()
        assert other.heard[-1] == ("finish", "total_steps")


def test_of_what_a_tracker_is_too_slow_for_the_newest_comes_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(courier, "_MOST_WAITING", 3)
    with blocked("start") as tracker:
        trainer = Trainer(config_of(total_steps=FOREVER, log_every_seconds=0.01), trackers=[tracker])
        trainer.start()
        wait_until(lambda: trainer._kept().tracking._couriers[0]._dropped > 2)
        trainer.stop()
        last = trainer.stats()["step"]
        tracker.may_go_on.set()
        with pytest.warns(
            RuntimeWarning, match=r"the tracker Blocked has not got \d+ values: it was too slow for \d+ "
        ):
            trainer.close()
    assert [heard[0] for heard in tracker.heard] == ["start", "log", "log", "log", "finish"]
    assert tracker.heard[-2][2] == last


def test_a_run_that_goes_on_is_the_same_run_of_its_tracker(tmp_path: Path) -> None:
    def heard_of(until: int, **settings: Any) -> Recorder:
        recorder = Recorder()
        with Trainer(config_of(run_dir=tmp_path, **settings), trackers=[recorder]) as trainer:
            trainer.run(until)
        return recorder

    first = heard_of(5000)
    second = heard_of(10_000, resume=True)
    assert second.run.id == first.run.id
    assert second.run.first_step >= 5000
    assert min(step for step, _ in second.logged("time/total_timesteps")) > second.run.first_step
    for path in checkpoints.paths(tmp_path / "checkpoints"):
        path.unlink()
    assert heard_of(1000, resume=True).run.id != first.run.id  # it begins again
    (tmp_path / "tracking.json").write_text("[")
    assert heard_of(2000, resume=True).run.id != first.run.id


def test_two_trainers_at_once_have_trackers_of_their_own() -> None:
    one, two, twin = Recorder(), Recorder(), Recorder()
    with Trainer(config_of(), trackers=[one, twin]) as a, Trainer(config_of(total_steps=9000), trackers=[two]) as b:
        a.start()
        b.start()
        a.wait()
        b.wait()
    assert one.run.id != two.run.id
    assert one.run.id == twin.run.id
    assert one.logged("time/total_timesteps")[-1][0] >= 20_000
    assert 9000 <= two.logged("time/total_timesteps")[-1][0] < 20_000


def test_a_trainer_that_never_ran_has_told_nobody_anything() -> None:
    recorder = Recorder()
    Trainer(config_of(), trackers=[recorder]).close()
    assert recorder.heard == []


def test_a_forked_copy_tells_no_tracker_anything(tmp_path: Path) -> None:
    recorder = Recorder()
    with Trainer(config_of(total_steps=FOREVER), trackers=[recorder]) as trainer:
        trainer.start()
        wait_until(lambda: len(recorder.heard) > 1)
        pid = os.fork()
        if pid == 0:
            status = 1
            with contextlib.suppress(BaseException):
                before = len(recorder.heard)
                trainer.close()
                time.sleep(0.2)
                status = 0 if len(recorder.heard) == before else 2
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        heard = len(recorder.heard)
        wait_until(lambda: len(recorder.heard) > heard)
    assert recorder.heard[-1] == ("finish", "stopped")


PROGRAM = """
import atexit
from a3c_fast import Config, Tracker, Trainer

class Said(Tracker):
    def start(self, run):
        atexit.register(print, "what it needs is gone")
    def log(self, values, step):
        pass
    def finish(self, reason):
        print("finished:", reason)

trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", num_workers=1, total_steps=10**12), trackers=[Said()])
trainer.start()
while trainer.stats()["step"] == 0:
    pass
"""


def test_a_program_that_ends_finishes_its_trackers() -> None:
    done = python(PROGRAM)
    assert (done.returncode, done.stdout, done.stderr) == (0, "finished: stopped\nwhat it needs is gone\n", "")


MODULE = """
from pathlib import Path
from a3c_fast import Tracker

class ToFile(Tracker):
    def start(self, run):
        self.file = Path("heard.txt").open("a")
        print(run.id, run.first_step, file=self.file)
    def log(self, values, step):
        print(step, sorted(values), file=self.file)
    def finish(self, reason):
        print(reason, file=self.file)
        self.file.close()

class Nothing:
    pass
"""
FLAGS = ("--env-id", FAKE, "--num-workers", "1", "--run-dir", "run", "--total-steps")


def test_the_command_has_a_tracker_of_a_module_and_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    result = run(TRAIN, *FLAGS, "3000", "--track", "mine:ToFile", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    result = run(TRAIN, *FLAGS, "6000", "--resume", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    heard = (tmp_path / "heard.txt").read_text().splitlines()
    starts = [line.split() for line in heard if " " in line and "[" not in line]
    assert len(starts) == 2
    assert starts[0][0] == starts[1][0]
    assert (starts[0][1], int(starts[1][1]) >= 3000) == ("0", True)
    assert heard.count("total_steps") == 2
    assert any("rollout/ep_rew_mean" in line for line in heard)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            "wand",
            r"^track is 'wand', but it must be one of wandb, mlflow, trackio, or .*; did you mean wandb\?$",
        ),
        ("mine:", "it must be one of"),
        (
            "no_such_module_here:Tracker",
            "to make it failed: ModuleNotFoundError: No module named 'no_such_module_here'",
        ),
        ("pathlib:NoSuch", "to make it failed: AttributeError: module 'pathlib' has no attribute 'NoSuch'"),
        ("pathlib:Path", "it must be a Tracker, with the methods start, log, finish"),
        (("wandb", "wandb"), "a tracker can be named once"),
        (3, "it must be a list of names of trackers"),
    ],
)
def test_a_name_that_is_no_tracker_is_refused_before_anything_starts(tmp_path: Path, names: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        Trainer(config_of(track=names, run_dir=tmp_path / "run"))
    assert caught.value.field == "track"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", trackers.NAMES)
def test_a_package_that_is_not_there_is_named_with_how_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda _: None)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=f"install a3c-fast with the extra `{name}`"):
        Trainer(config_of(track=name))


@pytest.mark.parametrize("given", [[object()], [Recorder], "wandb", Recorder()], ids=["object", "class", "name", "one"])
def test_what_a_program_gives_that_is_no_tracker_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(config_of(), trackers=given)
    assert caught.value.field == "trackers"
