"""TensorBoard: a run's numbers and hyper-parameters in a file of events."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from a3c_fast import files
from a3c_fast.events import Reason
from a3c_fast.tags import SCORES
from a3c_fast.trackers import RunInfo, Tracker

BOARD_PREFIX = "events.out.tfevents."
_PLUGIN = "hparams"
_END_TAG = "_hparams_/session_end_info"


class Board(Tracker):
    """A file of TensorBoard events, written at once: its own writer has a thread, whose errors nobody sees.

    The one tracker that the thread of the run itself calls: what goes to a file is as quick as metrics.jsonl. Each
    method raises `OSError` with the path where that cannot be written.
    """

    def start(self, run: RunInfo) -> None:
        """What earlier files of the directory hold beyond the first step is no longer shown."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        assert run.run_dir is not None
        first = Event(wall_time=time.time(), file_version="brain.Event:2")
        purge_step = run.first_step + 1 if run.first_step else 0
        session = Event(wall_time=time.time(), step=purge_step, session_log=SessionLog(status=SessionLog.START))
        name = f"{BOARD_PREFIX}{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.0"
        begin = b"".join(map(_record, (first, session, *_settings(run))))
        self._file = files.AppendedFile(files.unused(run.run_dir / name), begin)

    def log(self, values: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._file.append(_record(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars))))

    def finish(self, reason: Reason) -> None:
        with contextlib.suppress(OSError):  # that the session is over matters to nothing but a column
            self._file.append(_record(_end(reason)))
        self._file.close()


def _settings(run: RunInfo) -> list[Any]:
    """The events that the HPARAMS tab reads: which settings and scores there are, and the settings of this run."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard.summary import hparams

    shown = {name: str(value) if value is None else value for name, value in run.settings.items()}
    experiment, start, _ = hparams(shown, dict.fromkeys(SCORES))  # type: ignore[no-untyped-call]
    # The tab shows five settings, first those that are said to differ between runs.
    plugin = experiment.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(plugin.content)
    for info in data.experiment.hparam_infos:
        info.differs = info.name in run.said
    plugin.content = data.SerializeToString()
    return [Event(wall_time=time.time(), summary=summary) for summary in (experiment, start)]


def _end(reason: Reason) -> Any:
    """That the session is over, and how."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = Status.Value("STATUS_FAILURE" if reason == "failed" else "STATUS_SUCCESS")
    data = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=time.time()))
    plugin = SummaryMetadata.PluginData(plugin_name=_PLUGIN, content=data.SerializeToString())
    value = Summary.Value(tag=_END_TAG, metadata=SummaryMetadata(plugin_data=plugin))
    return Event(wall_time=time.time(), summary=Summary(value=[value]))


def _record(event: Any) -> bytes:
    """An event as TensorBoard's files hold it: with its length and checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    RecordWriter(content).write(event.SerializeToString())
    return content.getvalue()
