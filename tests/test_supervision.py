"""What happens to a run while nobody waits for it, and while it is paused."""

from __future__ import annotations

import gc
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE, PATIENCE, python, wait_until

from a3c_fast import CheckpointError, Config, ConfigError, Trainer
from a3c_fast import checkpoint as checkpoints
from a3c_fast.record import Record

FOREVER = 10**12


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def supervisors() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "a3c_fast supervisor"]


def test_start_and_going_away_is_a_complete_run(tmp_path: Path) -> None:
    config = Config(
        env_id=FAKE,
        total_steps=FOREVER,
        max_minutes=1 / 60,
        run_dir=tmp_path,
        log_every_seconds=0.1,
        checkpoint_every_seconds=0.2,
    )
    trainer = Trainer(config)
    trainer.start()
    wait_until(lambda: not trainer.running)
    wait_until(lambda: not supervisors())
    stats = trainer.stats()
    assert stats["wall_seconds"] >= 1
    assert checkpoints.load_newest(tmp_path / "checkpoints").step == stats["step"]
    steps = [line["step"] for line in lines(tmp_path)]
    assert len(steps) > 2
    assert steps == sorted(set(steps))
    assert steps[-1] == stats["step"]
    trainer.close()


def test_a_trainer_that_nobody_holds_goes_on_to_its_end(tmp_path: Path) -> None:
    trainer = Trainer(Config(env_id=FAKE, total_steps=200_000, run_dir=tmp_path))
    trainer.start()
    del trainer
    gc.collect()
    assert supervisors()
    with pytest.warns(ResourceWarning, match="was dropped without close"):
        wait_until(lambda: not supervisors())
    assert checkpoints.load_newest(tmp_path / "checkpoints").step >= 200_000


def test_the_end_of_a_run_by_its_return_is_seen_without_waiting(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, stop_at_return=-1e9, run_dir=tmp_path)) as trainer:
        trainer.start()
        wait_until(lambda: not trainer.running)
        assert trainer.wait(PATIENCE)
        assert checkpoints.load_newest(tmp_path / "checkpoints").step == trainer.stats()["step"]


def test_what_the_end_of_a_run_could_not_save_stop_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with Trainer(Config(env_id=FAKE, total_steps=2000, run_dir=tmp_path)) as trainer:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save", full)
            trainer.start()
            assert trainer.wait(PATIENCE)
            with pytest.raises(OSError, match="No space left"):
                trainer.stop()
        trainer.stop()
        assert checkpoints.load_newest(tmp_path / "checkpoints").step >= 2000


def test_what_breaks_while_it_looks_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path, checkpoint_every_seconds=0.1)) as trainer:
        with monkeypatch.context() as patch:

            def not_finite(*_: Any) -> Any:
                raise CheckpointError("the parameters are not finite")

            patch.setattr(Record, "save", not_finite)
            trainer.start()
            with pytest.raises(CheckpointError, match="not finite"):
                trainer.wait()
        assert not trainer.running


def test_stop_and_start_again_and_again(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path)) as trainer:
        for _ in range(50):
            trainer.start()
            trainer.stop()
        trainer.start()
        wait_until(lambda: len(supervisors()) == 1)
    assert not supervisors()


def test_a_program_that_ends_saves_what_is_under_way(tmp_path: Path) -> None:
    code = f"""
from a3c_fast import Config, Trainer
trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", total_steps=10**12, run_dir={str(tmp_path)!r}))
trainer.start()
while trainer.stats()["step"] == 0:
    pass
"""
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert checkpoints.load_newest(tmp_path / "checkpoints").step > 0


def test_metrics_of_a_run_as_it_goes() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=50_000, num_workers=2)) as trainer:
        seen = [line["step"] for line in trainer.metrics(every_steps=1000)]
        assert seen == sorted(set(seen))
        assert len(seen) > 1
        assert seen[-1] == trainer.stats()["step"] >= 50_000
        with pytest.raises(ValueError, match="every_steps is 0, but"):
            trainer.metrics(every_steps=0)


def test_leaving_the_loop_leaves_the_run_as_it_is() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        for line in trainer.metrics(every_steps=100):
            assert line["step"] >= 100
            break
        assert trainer.running
        for i, line in enumerate(trainer.metrics(every_steps=100)):
            assert line["step"] > 0
            if i == 3:
                threading.Thread(target=trainer.close).start()  # ends the loop
        with pytest.raises(RuntimeError, match="closed"):
            trainer.metrics()


def test_nothing_moves_while_a_run_is_paused(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, num_workers=3, run_dir=tmp_path, log_every_seconds=0.05)
    with Trainer(config) as trainer:
        for call in (trainer.pause, trainer.resume):
            with pytest.raises(RuntimeError, match="no run has begun"):
                call()
        trainer.start()
        wait_until(lambda: trainer.stats()["step"] > 0)
        assert trainer.pause()
        assert trainer.pause()
        assert not trainer.running
        assert repr(trainer) == f"<Trainer of {FAKE}, paused>"
        before, state = trainer.stats(), trainer.state_dict()
        time.sleep(0.3)
        after = trainer.stats()
        assert {**before, "steps_per_second": 0} == {**after, "steps_per_second": 0}
        assert all((value == state[name]).all() for name, value in trainer.state_dict().items())
        assert trainer.wait(0.05) is False
        with pytest.raises(RuntimeError, match="the run is paused"):
            trainer.start()
        with pytest.raises(RuntimeError, match="while the workers run"):
            trainer.load_state_dict(state)
        trainer.save(tmp_path / "paused.safetensors")
        assert trainer.resume()
        assert trainer.resume()
        wait_until(lambda: trainer.stats()["step"] > before["step"])
        trainer.pause()
        trainer.stop()
        assert not trainer.pause()
        assert not trainer.resume()
        trainer.start()
        trainer.pause()  # and close()


def test_a_paused_run_learns_the_same() -> None:
    learned = []
    for pauses in (False, True):
        with Trainer(Config(env_id="CartPole-v1", num_workers=1, total_steps=20_000, seed=4)) as trainer:
            trainer.start()
            times = 0
            while pauses and trainer.pause():
                times += 1
                trainer.resume()
            assert trainer.wait(PATIENCE)
            assert (times > 0) == pauses
            learned.append(trainer.state_dict())
    assert all((value == learned[1][name]).all() for name, value in learned[0].items())


def test_pauses_from_several_threads() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, num_workers=2)) as trainer:
        trainer.start()
        broken: list[BaseException] = []

        def toggle() -> None:
            try:
                for _ in range(200):
                    trainer.pause()
                    trainer.resume()
            except BaseException as error:
                broken.append(error)

        threads = [threading.Thread(target=toggle) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not broken
        before = trainer.stats()["step"]
        wait_until(lambda: trainer.stats()["step"] > before)


# set() ---------------------------------------------------------------------------------------------------------------


def test_a_setting_that_changes_is_seen_in_the_next_update_and_after_a_resume(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, total_steps=10**6, learning_rate_decay_power=0.0, run_dir=tmp_path, num_workers=1)
    with Trainer(config) as trainer:
        trainer.run(1000)
        before = trainer.stats()["step"]
        assert trainer.stats()["learning_rate"] == config.learning_rate
        trainer.set(learning_rate=0.0123, entropy_coef="0.5")
        assert trainer.stats()["learning_rate"] == 0.0123
        assert trainer.stats()["entropy_coef"] == 0.5
        assert trainer.config.learning_rate == 0.0123
        assert trainer.changes == [(before, "learning_rate", 0.0123), (before, "entropy_coef", 0.5)]
        trainer.run(2000)
    assert json.loads((tmp_path / "config.json").read_text())["learning_rate"] == 0.0123
    with Trainer.from_checkpoint(tmp_path) as trainer:
        assert trainer.stats()["learning_rate"] == 0.0123
        assert trainer.changes == [(before, "learning_rate", 0.0123), (before, "entropy_coef", 0.5)]


@pytest.mark.parametrize("name", ["learning_rate", "entropy_coef", "value_coef", "clip_coef", "max_grad_norm"])
def test_a_run_that_is_changed_learns_what_one_with_these_settings_learns(name: str) -> None:
    """From the first update on, that is; and something else than without."""
    config = Config(env_id=FAKE, total_steps=10**6, num_workers=1, update_epochs=2, seed=3)
    value = {"clip_coef": 0.01, "max_grad_norm": 0.001}.get(name, 0.03)
    learned = []
    for settings, changes in (({name: value}, {}), ({}, {name: value}), ({}, {})):
        with Trainer(config.replace(**settings)) as trainer:
            trainer.set(**changes)
            trainer.run(2000)
            learned.append(trainer.state_dict())
    same, other = (all((learned[0][key] == state[key]).all() for key in state) for state in learned[1:])
    assert same
    assert not other


def test_what_cannot_change_is_refused() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=10**6)) as trainer:
        with pytest.raises(ConfigError, match=r"gamma is 0\.9, but only learning_rate, entropy_coef, .* can change"):
            trainer.set(learning_rate=0.5, gamma=0.9)
        with pytest.raises(ConfigError, match="learning_rate is -1, but"):
            trainer.set(entropy_coef=0.1, learning_rate=-1)
        assert trainer.changes == []
        assert trainer.stats()["entropy_coef"] == trainer.config.entropy_coef
        trainer.start()
        trainer.set(learning_rate=0.001)
        trainer.pause()
        trainer.set(learning_rate=0.002)
        trainer.resume()
        assert [value for _, _, value in trainer.changes] == [0.001, 0.002]


@pytest.mark.parametrize("wait", ["trainer.wait(0)", "isinstance((events.pull() or [0])[-1], a3c_fast.Ended)"])
def test_a_handler_may_close_what_the_program_waits_for(wait: str) -> None:
    program = f"""
import a3c_fast
import os, signal, threading
from a3c_fast import Config, Trainer
for i in range(30):
    trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", num_workers=1, total_steps=10**9))
    signal.signal(signal.SIGUSR1, lambda *_: trainer.close())
    events = trainer.events()
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    try:
        while not {wait}:
            pass
    except RuntimeError as error:
        assert "closed" in str(error)
print("done")
"""
    done = python(program)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
