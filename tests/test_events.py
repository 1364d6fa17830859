"""What a program hears of a run while it goes on."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE, PATIENCE, wait_until

from a3c_fast import Config, Ended, Episode, Metrics, Saved, Trainer
from a3c_fast import checkpoint as checkpoints
from a3c_fast.events import Event

FOREVER = 10**12


def test_every_episode_is_told_in_its_order_and_then_the_end(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, num_workers=3, total_steps=30_000, run_dir=tmp_path, log_every_seconds=0.05)
    with Trainer(config) as trainer:
        events = trainer.events()
        seen = list(events)
        stats = trainer.stats()
    assert events.dropped == 0
    episodes = [event for event in seen if isinstance(event, Episode)]
    assert len(episodes) == stats["episodes"] > 100
    assert {episode.worker for episode in episodes} == {0, 1, 2}
    assert all(episode.length > 0 for episode in episodes)
    steps = [episode.step for episode in episodes]
    assert steps == sorted(steps)
    last = episodes[-100:]
    assert sum(episode.episode_return for episode in last) / 100 == pytest.approx(stats["mean_return_100"])
    assert sum(episode.length for episode in last) / 100 == pytest.approx(stats["mean_length_100"])
    lines = [event.line["step"] for event in seen if isinstance(event, Metrics)]
    assert lines == sorted(set(lines))
    assert lines[-1] == stats["step"]
    assert [event.step for event in seen if isinstance(event, Saved)][-1] == stats["step"]
    assert seen[-1] == Ended("total_steps", stats["step"])


@pytest.mark.parametrize("reason", ["total_steps", "max_minutes", "stop_at_return", "stopped", "closed", "failed"])
def test_the_end_has_its_reason(reason: str) -> None:
    limits: dict[str, Any] = {
        "total_steps": {"total_steps": 2000},
        "max_minutes": {"max_minutes": 1e-4},
        "stop_at_return": {"stop_at_return": -1e9},
    }
    config = Config(env_id=FAKE, **{"total_steps": FOREVER, **limits.get(reason, {})})
    clients = None
    if reason == "failed":
        from a3c_fast.envs import scripted

        clients = [scripted.make_client(FAKE, [1, 2], fail_at=100)]
        config = config.replace(num_workers=1, envs_per_worker=2, envs_per_update=2)
    with Trainer(config, clients=clients) as trainer:
        events = trainer.events()
        if reason == "stopped":
            trainer.stop()
        if reason == "closed":
            trainer.close()
        *_, last = events
        assert isinstance(last, Ended)
        assert last.reason == ("stopped" if reason == "closed" else reason)
        assert list(events) == []


def test_a_reader_that_comes_late_hears_what_comes_then() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        trainer.start()
        wait_until(lambda: trainer.stats()["episodes"] > 100)
        before = trainer.stats()["episodes"]
        late = trainer.events()
        first = next(late)
        assert isinstance(first, Episode)
        trainer.stop()
        rest = list(late)
        assert 1 + sum(isinstance(event, Episode) for event in rest) <= trainer.stats()["episodes"] - before + 1
        assert isinstance(rest[-1], Ended)
        # And the next run of the same trainer.
        again = trainer.events(until=trainer.stats()["step"] + 1000)
        *_, last = again
        assert last == Ended("total_steps", trainer.stats()["step"])


def test_a_slow_reader_stops_nobody_and_knows_what_it_missed() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, num_workers=2)) as trainer:
        events = trainer.events()
        wait_until(lambda: trainer.stats()["episodes"] > 70_000)
        trainer.stop()
        seen = sum(isinstance(event, Episode) for event in events)
        assert events.dropped > 0
        assert seen <= 65_536
        assert seen + events.dropped == trainer.stats()["episodes"]


def test_what_is_called_back_is_called_by_this_thread_and_may_raise(tmp_path: Path) -> None:
    seen: list[Event] = []
    threads = set()

    def hear(event: Event) -> None:
        seen.append(event)
        threads.add(threading.get_ident())

    config = Config(env_id=FAKE, total_steps=20_000, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(10_000, on_event=hear)
        assert threads == {threading.get_ident()}
        assert isinstance(seen[-1], Ended)
        assert sum(isinstance(event, Episode) for event in seen) == trainer.stats()["episodes"]

        def breaks(event: Event) -> None:
            raise ZeroDivisionError("a mistake of the program's")

        with pytest.raises(ZeroDivisionError, match="a mistake of the program's"):
            trainer.run(on_event=breaks)
        assert not trainer.running
        assert checkpoints.load_newest(tmp_path / "checkpoints").step == trainer.stats()["step"]


def test_several_readers_and_a_pull_that_waits() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        one = trainer.events()
        two = trainer.events()
        for reader in (one, two):
            wait_until(lambda reader=reader: reader.pull(1.0))
        trainer.pause()
        one.pull()
        assert one.pull() == []
        begin = time.monotonic()
        assert one.pull(0.2) == []
        assert time.monotonic() - begin >= 0.2
        trainer.resume()
        trainer.stop()
        assert trainer.wait(PATIENCE)
        assert isinstance(one.pull(PATIENCE)[-1], Ended)
