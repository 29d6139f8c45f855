"""What a training leaves behind as it goes: events.jsonl, TensorBoard files, its own speed and what it cost."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch

from aurify import atomic, board, events
from aurify.device import energy_counter, forget_peak_memory, peak_memory
from aurify.errors import UserError
from aurify.events import Evaluated, Event, Notice, Progress
from aurify.journal import Journal
from aurify.run import Run, read_json, write_json
from aurify.training import TrainConfig


class Writer:
    """Appends to a run's log; silent in every process but the first. What cannot be written is said once and ends
    nothing: checkpoints are what matters."""

    def __init__(self, run: Run, active: bool):
        self.run, self.active = run, active
        self.stamps: deque[float] = deque(maxlen=32)
        self.file: Journal | None = None
        self.board: board.Board | None = None
        self.refused: set[str] = set()
        self.untold: list[str] = []
        self.began, self.joules = time.perf_counter(), None
        self.watched = 0.0

    def __enter__(self) -> "Writer":
        if self.active:
            self.file = Journal(self.run.events)
            with suppress(OSError):  # they harm nobody
                atomic.sweep(self.run.path / "previews")
            if board.installed:
                self.attempt("curves", self.open_board)
        return self

    def open_board(self) -> None:
        self.board = board.Board(self.run.path / "tensorboard")

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
        if self.board:
            self.board.journal.close()
        if self.active and self.stamps:
            with suppress(UserError):  # a full disk was already told
                self.keep_cost()

    def keep_cost(self) -> None:
        """Adds this training's seconds, of them those spent on looking at it, to timing.json, joules where they can be
        read, and the peak of memory."""
        path, now = self.run.path / "timing.json", energy_counter()
        kept = read_json(path) if path.is_file() else {"seconds": 0.0, "joules": 0.0}
        kept["seconds"] += self.seconds
        kept["watching"] = kept.get("watching", 0.0) + self.watched
        kept["threads"] = torch.get_num_threads()
        kept["gpu"] = kept.get("gpu", False) or (torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0)
        kept["peak_memory"] = max(kept.get("peak_memory", 0), peak_memory())
        if now and self.joules and "joules" in kept:
            kept["joules"] += (now[0] - self.joules[0]) % now[1]
        else:
            kept.pop("joules", None)  # a part of the whole would mislead
        write_json(path, kept)

    def cut(self, size: int) -> bool:
        """Forget what was logged after a checkpoint, so that a resumed log equals an uninterrupted one; whether all
        that was logged before it is there."""
        return self.file is None or self.file.cut(size)

    def size(self) -> int:
        """Bytes of the log, all of them on the disk. Raises UserError where the disk refuses."""
        return self.file.sync() if self.file else 0

    def start(self, step: int) -> None:
        self.began, self.joules = time.perf_counter(), energy_counter()
        forget_peak_memory()
        self.stamps.append(self.began)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around held-out figures and previews, whose seconds are counted."""
        began = time.perf_counter()
        yield
        self.watched += time.perf_counter() - began

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
        """Writes the event down, as soon as there is room; returns it."""
        if file := self.file:
            line = json.dumps(events.to_json(event), ensure_ascii=False) + "\n"
            self.attempt("lines", lambda: file.append(line.encode()))
        if (curves := self.board) and isinstance(event, Progress | Evaluated):
            values = event.losses if isinstance(event, Progress) else event.figures
            self.attempt("curves", lambda: curves.add(event.step, values))
        return event

    def attempt(self, what: str, act: Callable[[], None]) -> None:
        """Does it; the first refusal of each kind is kept for `notices`."""
        try:
            act()
        except UserError as error:
            if what not in self.refused:
                self.untold.append(f"{error} Training goes on, and what could not be written waits for room.")
            self.refused.add(what)

    def notices(self, step: int) -> Iterator[Notice]:
        """What could not be written, each once."""
        told, self.untold = self.untold, []
        yield from (Notice(step, "not-written", text) for text in told)
