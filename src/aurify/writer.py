"""What a training leaves behind as it goes: events.jsonl, TensorBoard files, its own speed and what it cost."""

import importlib.util
import json
import os
import time
from collections import deque
from contextlib import suppress
from typing import Any

from aurify import events
from aurify.atomic import NoSpace
from aurify.device import energy_counter, forget_peak_memory, peak_memory
from aurify.events import Evaluated, Event, Progress
from aurify.run import Run, read_json, write_json
from aurify.training import TrainConfig


class Writer:
    """Appends to a run's log; silent in every process but the first."""

    def __init__(self, run: Run, active: bool):
        self.run, self.active = run, active
        self.stamps: deque[float] = deque(maxlen=32)
        self.board: Any = None
        self.file: Any = None
        self.began, self.joules = time.perf_counter(), None

    def __enter__(self) -> "Writer":
        if self.active:
            self.file = self.run.events.open("ab")
            if importlib.util.find_spec("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

                self.board = SummaryWriter(str(self.run.path / "tensorboard"))
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
        if self.board:
            self.board.close()
        if self.active and self.stamps:
            self.keep_cost()

    def keep_cost(self) -> None:
        """Adds this training's seconds, and joules where they can be read, to timing.json, and the peak of memory."""
        path, now = self.run.path / "timing.json", energy_counter()
        kept = read_json(path) if path.is_file() else {"seconds": 0.0, "joules": 0.0}
        kept["seconds"] += self.seconds
        kept["peak_memory"] = max(kept.get("peak_memory", 0), peak_memory())
        if now and self.joules and "joules" in kept:
            kept["joules"] += (now[0] - self.joules[0]) % now[1]
        else:
            kept.pop("joules", None)  # a part of the whole would mislead
        with suppress(NoSpace, OSError):  # a full disk was already told
            write_json(path, kept)

    def truncate(self, size: int) -> None:
        """Forget what was logged after a checkpoint, so that a resumed log equals an uninterrupted one."""
        if self.file:
            self.file.truncate(size)
            self.file.seek(0, os.SEEK_END)

    def size(self) -> int:
        """Bytes of the log, all of them on the disk."""
        if not self.file:
            return 0
        self.file.flush()
        os.fsync(self.file.fileno())
        return self.file.tell()

    def start(self, step: int) -> None:
        self.began, self.joules = time.perf_counter(), energy_counter()
        forget_peak_memory()
        self.stamps.append(self.began)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def progress(self, step: int, config: TrainConfig, losses: dict[str, float]) -> Progress:
        """The step's event with its speed over the last steps and the time left."""
        self.stamps.append(time.perf_counter())
        seconds = (self.stamps[-1] - self.stamps[0]) / max(1, len(self.stamps) - 1)
        rate = config.batch / seconds if seconds else 0.0
        return Progress(step, config.steps, losses, rate, (config.steps - step) * seconds)

    def log(self, event: Event) -> Event:
        """Writes the event down; returns it."""
        if self.file:
            self.file.write((json.dumps(events.to_json(event), ensure_ascii=False) + "\n").encode())
            self.file.flush()
        if self.board and isinstance(event, Progress | Evaluated):
            values = event.losses if isinstance(event, Progress) else event.figures
            for name, value in values.items():
                self.board.add_scalar(name, value, event.step)
        return event
