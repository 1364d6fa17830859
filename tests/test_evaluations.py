"""Evaluations while a run trains."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE, PATIENCE, python, run, wait_until

import a3c_fast.evaluate
from a3c_fast import Config, ConfigError, Ended, Evaluated, Saved, Trainer
from a3c_fast import checkpoint as checkpoints
from a3c_fast.evaluate import evaluate, load_policy
from a3c_fast.evaluation_log import Line, best_of, reached

ENV = "CartPole-v1"
FOREVER = 10**12


def short(**settings: Any) -> Config:
    defaults = {"env_id": ENV, "num_workers": 1, "envs_per_worker": 4, "total_steps": 20_000, "evaluate_every": 6000}
    return Config(**{**defaults, "evaluate_episodes": 3, **settings})


def written(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "evaluations.jsonl").read_text().splitlines()]


def line(step: int, mean_return: float) -> Line:
    return Line(step, 1.0, mean_return, 0.0, mean_return, mean_return, 1.0, 1, False, 0.1, False)


@pytest.mark.parametrize("greedy", [False, True])
def test_what_is_written_is_what_the_agent_scored(tmp_path: Path, greedy: bool) -> None:
    config = short(run_dir=tmp_path / "run", evaluate_greedy=greedy, seed=3)
    with Trainer(config) as trainer:
        events = [event for event in trainer.events() if isinstance(event, (Evaluated, Saved, Ended))]
        lines = trainer.evaluations
        last = trainer.policy()
        step = trainer.stats()["step"]
    assert lines == written(config.run_dir or tmp_path)
    assert [event.score for event in events if isinstance(event, Evaluated)] == lines
    assert isinstance(events[-1], Ended)
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert steps[0] >= 6000
    assert steps[-1] == step  # what was learned at the end is evaluated, too
    highest = 0.0
    for entry in lines:
        assert entry["best"] == (entry["mean_return"] > highest)
        highest = max(highest, entry["mean_return"])
    best = next(entry for entry in reversed(lines) if entry["best"])
    saved = checkpoints.load(tmp_path / "run" / "best.safetensors")
    assert saved.step == best["step"]
    # Played again from the same starts, they score the same.
    for policy, expected in ((load_policy(saved)[0], best), (last, lines[-1])):
        again = evaluate(policy, config, episodes=3, greedy=greedy, seed=3)
        assert {name: again[name] for name in ("mean_return", "std_return", "mean_length")} == {
            name: expected[name] for name in ("mean_return", "std_return", "mean_length")
        }


def test_the_run_learns_what_it_would_have_learned() -> None:
    def learned(**settings: Any) -> dict[str, bytes]:
        with Trainer(short(**settings)) as trainer:
            trainer.run()
            return {name: value.numpy().tobytes() for name, value in trainer.state_dict().items()}

    assert learned() == learned(evaluate_every=0)


def test_it_ends_at_the_return_that_was_asked_for(tmp_path: Path) -> None:
    with Trainer(short(run_dir=tmp_path, total_steps=FOREVER, stop_at_evaluation=9.0)) as trainer:
        *_, last = trainer.events()
        assert last == Ended("stop_at_evaluation", trainer.stats()["step"])
        (entry,) = trainer.evaluations
        assert entry["mean_return"] >= 9
    with Trainer.from_checkpoint(tmp_path) as trainer:
        assert trainer.evaluations == [entry]
    again = run("a3c_fast.train", "--run-dir", str(tmp_path), "--resume")
    assert again.status == 0, again.stderr
    assert "has come to its stop_at_evaluation, 9" in again.stdout


def test_it_ends_where_nothing_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    returns = iter([1.0, 5.0, 5.0, 4.0, 2.0, 9.0])

    def scripted(*_: Any, **__: Any) -> dict[str, Any]:
        value = next(returns)
        names = ("std_return", "min_return", "max_return", "mean_length")
        return {"mean_return": value, "episodes": 1, "human_normalized": None, **dict.fromkeys(names, 1.0)}

    monkeypatch.setattr(a3c_fast.evaluate, "evaluate", scripted)
    with Trainer(short(total_steps=FOREVER, evaluate_patience=3)) as trainer:
        *_, last = trainer.events()
        assert isinstance(last, Ended)
        assert last.reason == "evaluate_patience"
        assert [entry["mean_return"] for entry in trainer.evaluations] == [1, 5, 5, 4, 2]
        assert [entry["best"] for entry in trainer.evaluations] == [True, True, False, False, False]


def test_the_limits_of_what_was_found() -> None:
    config = short(stop_at_evaluation=7.0, evaluate_patience=2)
    assert reached(config, []) is None
    assert reached(config, [line(1, 3.0), line(2, 3.0)]) is None
    assert reached(config, [line(1, 3.0), line(2, 3.0), line(3, 1.0)]) == "evaluate_patience"
    assert reached(config, [line(1, 3.0), line(2, 3.0), line(3, 7.0)]) == "stop_at_evaluation"
    assert reached(short(), [line(1, 3.0), *(line(step, 1.0) for step in range(2, 99))]) is None
    assert best_of([line(1, 3.0), line(2, 3.0), line(3, 1.0)]) == line(1, 3.0)


@pytest.mark.parametrize("end", ["stop", "close", "request_stop"])
def test_nobody_waits_for_an_evaluation_that_is_not_wanted(end: str) -> None:
    # A million episodes: who waited for them would wait for an hour.
    trainer = Trainer(short(total_steps=FOREVER, evaluate_every=500, evaluate_episodes=100_000))
    trainer.start()
    wait_until(lambda: trainer.stats()["step"] > 2000)
    wait_until(lambda: any(thread.name == "a3c_fast evaluation" for thread in threading.enumerate()))
    begin = time.monotonic()
    getattr(trainer, end)()
    if end != "close":
        assert trainer.wait(PATIENCE)
        assert trainer.evaluations == []
    trainer.close()
    assert time.monotonic() - begin < PATIENCE
    wait_until(lambda: all(thread.name != "a3c_fast evaluation" for thread in threading.enumerate()))


def test_another_run_of_the_trainer_does_not_wait_for_the_last_one() -> None:
    with Trainer(short(evaluate_every=10**9, evaluate_episodes=100_000)) as trainer:
        trainer.start(2000)
        wait_until(lambda: any(thread.name == "a3c_fast evaluation" for thread in threading.enumerate()))
        assert not trainer.wait(0)
        trainer.start(4000)
        wait_until(lambda: trainer.stats()["step"] >= 4000)
        trainer.stop()
        assert trainer.evaluations == []


def test_one_that_fails_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., dict[str, Any]] = evaluate
    calls = []

    def breaks_once(*args: Any, **kwargs: Any) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("the power went out")
        return real(*args, **kwargs)

    monkeypatch.setattr(a3c_fast.evaluate, "evaluate", breaks_once)
    sentence = "an evaluation failed, and the run goes on without it: the power went out"
    with Trainer(short()) as trainer:
        with pytest.warns(RuntimeWarning, match=sentence):
            assert trainer.run()["step"] >= 20_000
        assert trainer.evaluations


def test_a_run_that_begins_again_keeps_what_was_found_before(tmp_path: Path) -> None:
    with Trainer(short(run_dir=tmp_path)) as trainer:
        trainer.run()
    found = written(tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        path.unlink()
    with Trainer(short(run_dir=tmp_path, resume=True)) as trainer:
        assert trainer.kind == "restarted"
        assert trainer.evaluations == []
    assert json.loads((tmp_path / "earlier_evaluations.jsonl").read_text().splitlines()[0]) == found[0]
    assert (tmp_path / "earlier_best.safetensors").exists()


def test_the_end_of_the_interpreter_waits_for_none() -> None:
    program = f"""
from a3c_fast import Config, Trainer
trainer = Trainer(Config("{ENV}", total_steps=10**9, evaluate_every=1000, evaluate_episodes=100000))
trainer.start()
while not any(t.name == "a3c_fast evaluation" for t in __import__("threading").enumerate()):
    trainer.wait(0.01)
print("left")
"""
    ended = python(program)
    assert (ended.returncode, ended.stdout) == (0, "left\n"), ended.stderr


def test_it_stands_still_in_a_pause() -> None:
    asked = short(total_steps=FOREVER, evaluate_every=500, evaluate_episodes=100_000)
    with Trainer(asked) as trainer:
        trainer.start()
        wait_until(lambda: any(thread.name == "a3c_fast evaluation" for thread in threading.enumerate()))
        trainer.pause()
        time.sleep(0.2)  # what it was at comes to its end
        before = time.process_time()
        time.sleep(1)
        assert time.process_time() - before < 0.5
        trainer.resume()
        trainer.stop()


def test_a_goal_that_is_reached_ends_the_next_run_at_once(tmp_path: Path) -> None:
    config = short(run_dir=tmp_path, total_steps=FOREVER, stop_at_evaluation=9.0)
    with Trainer(config) as trainer:
        first = trainer.run()["step"]
        *_, last = trainer.events()
        assert last == Ended("stop_at_evaluation", trainer.stats()["step"])
        assert len(trainer.evaluations) == 1
        assert trainer.stats()["step"] >= first


def test_lines_of_others_are_kept_under_another_name(tmp_path: Path) -> None:
    with Trainer(short(run_dir=tmp_path)) as trainer:
        trainer.run()
        lines = trainer.evaluations
    path = tmp_path / "evaluations.jsonl"
    content = path.read_text() + '{"of": "somebody"}\n'
    path.write_text(content)
    with pytest.warns(UserWarning, match="is damaged: it is kept as damaged_evaluations.jsonl"):
        trainer = Trainer.from_checkpoint(tmp_path, total_steps=30_000)
    with trainer:
        trainer.run()
        assert trainer.evaluations[: len(lines)] == lines
    assert (tmp_path / "damaged_evaluations.jsonl").read_text() == content
    assert written(tmp_path) == trainer.evaluations


def test_a_best_that_was_taken_away_is_written_anew(tmp_path: Path) -> None:
    with Trainer(short(run_dir=tmp_path)) as trainer:
        trainer.run()
    best = tmp_path / "best.safetensors"
    best.unlink()
    with Trainer.from_checkpoint(tmp_path, total_steps=40_000) as trainer:
        trainer.run()
    assert checkpoints.load(best).step > 20_000


def test_scores_are_written_whatever_is_in_the_place_of_the_best(tmp_path: Path) -> None:
    with Trainer(short(run_dir=tmp_path)) as trainer:
        (tmp_path / "best.safetensors").write_text("mine")
        with pytest.warns(RuntimeWarning, match="an evaluation could not be written"):
            trainer.run()
        assert written(tmp_path) == trainer.evaluations != []
    assert (tmp_path / "best.safetensors").read_text() == "mine"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"stop_at_evaluation": 5.0}, "stop_at_evaluation is 5.0, but evaluate_every must say how often"),
        ({"evaluate_patience": 2}, "evaluate_patience is 2, but evaluate_every must say how often"),
        ({"env_id": FAKE, "evaluate_every": 5}, "evaluate_every is 5, but .* has no scores"),
    ],
    ids=str,
)
def test_what_cannot_be_evaluated_is_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Config(**{"env_id": ENV, **settings})
