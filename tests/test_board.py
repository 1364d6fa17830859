"""TensorBoard's file of events, apart from a run and of a run."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from a3c_fast import Config, Trainer, files, tags
from a3c_fast.board import Board
from a3c_fast.trackers import RunInfo

SETTINGS = {"env_id": "CartPole-v1", "learning_rate": 0.001, "reward_clip": False, "network": None, "num_workers": 2}


def board_of(run_dir: Path, first_step: int = 0) -> Board:
    board = Board()
    board.start(RunInfo("", "run", SETTINGS, frozenset(), first_step, run_dir))
    return board


def scalars(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run_dir), size_guidance={"scalars": 0})
    events.Reload()
    if tag not in events.Tags()["scalars"]:
        return []
    return [(event.step, event.value) for event in events.Scalars(tag)]


def session_groups(logdir: Path) -> list[Any]:
    """The rows that TensorBoard's own HPARAMS tab makes of the runs below `logdir`."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, list_session_groups
    from tensorboard.plugins.hparams.backend_context import Context

    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(logdir))
    context, request = Context(TBContext(data_provider=provider)), RequestContext()
    experiment = context.experiment_from_metadata(request, "", True, context.hparams_metadata(request, ""), [])
    metrics = [api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos]
    statuses = list(api_pb2.Status.values())
    wanted = api_pb2.ListSessionGroupsRequest(
        col_params=metrics, allowed_statuses=statuses, slice_size=100, include_metrics=True
    )
    return list(list_session_groups.Handler(request, context, "", wanted).run().session_groups)


def test_what_is_logged_is_in_the_file_at_once_and_written_by_this_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    board = board_of(tmp_path)
    board.log({"train/value_loss": 0.5, "time/fps": 1e300}, 10)
    board.log({"train/value_loss": 0.25}, 20)
    assert threading.active_count() == before
    assert scalars(tmp_path, "train/value_loss") == [(10, 0.5), (20, 0.25)]
    board.finish("total_steps")
    with pytest.raises(OSError, match="it is closed"):
        board.log({"train/value_loss": 1.0}, 30)
    board_of(tmp_path, 20).finish("stopped")  # in the same second, of the same process
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2


def test_what_lies_beyond_the_step_from_which_a_run_goes_on_is_no_longer_shown(tmp_path: Path) -> None:
    first = board_of(tmp_path)
    for step in (10, 20, 30):
        first.log({"train/value_loss": step}, step)
    first.finish("failed")
    second = board_of(tmp_path, 20)
    second.log({"train/value_loss": 7}, 25)
    second.finish("stopped")
    assert scalars(tmp_path, "train/value_loss") == [(10, 10.0), (20, 20.0), (25, 7.0)]


def test_a_full_disk_is_told_with_the_file_and_the_next_event_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = board_of(tmp_path)

    def full(file: files.AppendedFile, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(file.path))

    with monkeypatch.context() as patch:
        patch.setattr(files.AppendedFile, "append", full)
        with pytest.raises(OSError, match="No space left on device"):
            board.log({"train/value_loss": 1}, 10)
        board.finish("total_steps")
    again = board_of(tmp_path)
    again.log({"train/value_loss": 2}, 20)
    again.finish("total_steps")
    assert scalars(tmp_path, "train/value_loss") == [(20, 2.0)]


def test_the_settings_and_scores_of_two_runs_are_a_table(tmp_path: Path) -> None:
    for seed, reason in ((1, "total_steps"), (2, "failed")):
        (tmp_path / f"seed_{seed}").mkdir()
        board = Board()
        settings = {**SETTINGS, "seed": seed}
        board.start(RunInfo("", "run", settings, frozenset({"seed"}), 0, tmp_path / f"seed_{seed}"))
        board.log({"rollout/ep_rew_mean": 100.0 * seed, "time/fps": 5000.0}, 10)
        board.finish(reason)  # type: ignore[arg-type]
    rows = {row.sessions[0].name: row for row in session_groups(tmp_path)}
    assert set(rows) == {"seed_1", "seed_2"}
    shown = {name: value.number_value or value.string_value for name, value in rows["seed_2"].hparams.items()}
    assert shown == {
        "env_id": "CartPole-v1",
        "learning_rate": 0.001,
        "reward_clip": "",  # false
        "network": "None",
        "num_workers": 2.0,
        "seed": 2.0,
    }
    values = {value.name.tag: value.value for value in rows["seed_2"].sessions[0].metric_values}
    assert values == {"rollout/ep_rew_mean": 200.0, "time/fps": 5000.0}
    statuses = [rows[name].sessions[0].status for name in ("seed_1", "seed_2")]
    assert statuses == [1, 2]  # success, failure


def test_a_run_has_the_names_that_people_look_for(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=20_000, run_dir=tmp_path / "run", update_epochs=2)) as trainer:
        trainer.run()
        line = trainer.stats()
    wanted = {
        "rollout/ep_rew_mean": line["mean_return_100"],
        "rollout/ep_len_mean": line["mean_length_100"],
        "train/entropy_loss": -line["entropy"],
        "train/policy_gradient_loss": line["policy_loss"],
        "train/value_loss": line["value_loss"],
        "train/explained_variance": line["explained_variance"],
        "train/approx_kl": line["approx_kl"],
        "train/clip_fraction": line["clip_fraction"],
        "train/learning_rate": line["learning_rate"],
        "time/total_timesteps": line["step"],
    }
    for tag, value in wanted.items():
        assert scalars(tmp_path / "run", tag)[-1] == (line["step"], pytest.approx(value, rel=1e-6)), tag
    assert scalars(tmp_path / "run", "time/fps")[-1][1] > 0
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    shares = [scalars(tmp_path / "run", tag)[-1][1] for tag in events.Tags()["scalars"] if tag.startswith("stages/")]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    (row,) = session_groups(tmp_path)
    assert row.hparams["env_id"].string_value == FAKE


def test_the_numbers_of_an_evaluation_have_their_names() -> None:
    score = {"mean_return": 3, "std_return": 1.5, "best": True, "human_normalized": None, "max_return": float("nan")}
    assert tags.of_evaluation(score) == {"eval/mean_reward": 3.0, "eval/std_reward": 1.5}
