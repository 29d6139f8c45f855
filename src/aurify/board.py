"""Curves for TensorBoard: its own file format, written record by record by whoever logs. Its own writer does so in a
thread, which a full disk ends with a traceback."""

import importlib.util
import os
import socket
import time
from io import BytesIO
from pathlib import Path

from aurify.atomic import explained, make
from aurify.journal import Journal

installed = importlib.util.find_spec("tensorboard") is not None


class Board:
    """One event file in `folder`.

    Raises, here and in `add`:
        UserError: the disk is full, or refuses otherwise.
    """

    def __init__(self, folder: Path):
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        self.event, self.summary = Event, Summary
        with explained(folder, "make the folder"):
            make(folder)
        now = time.time()
        self.journal = Journal(folder / f"events.out.tfevents.{now:.0f}.{socket.gethostname()}.{os.getpid()}.0")
        self.journal.append(record(Event(wall_time=now, file_version="brain.Event:2").SerializeToString()))

    def add(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve."""
        points = [self.summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        made = self.event(wall_time=time.time(), step=step, summary=self.summary(value=points))
        self.journal.append(record(made.SerializeToString()))


def record(data: bytes) -> bytes:
    """Length, its checksum, the data, its checksum."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    out = BytesIO()
    RecordWriter(out).write(data)
    return out.getvalue()
