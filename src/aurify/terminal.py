"""How a person sees a training: a line that moves, previews, figures and notices."""

import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from aurify import events
from aurify.events import Event

QUIET = 10.0  # seconds between two lines about one long thing, where no line can move


class Pace:
    """Whether it is time for a line: after ten seconds, then at intervals that grow to a tenth of what has passed."""

    def __init__(self) -> None:
        self.began = self.said = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self.said < max(QUIET, (now - self.began) / 10):
            return False
        self.said = now
        return True


class Screen:
    """Shows events as they come; with `machine` set, prints each as a JSON line instead."""

    def __init__(self, machine: bool = False):
        self.machine = machine
        self.out = Console(highlight=False)
        self.error = Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        """What is being done now, for people only."""
        if not self.machine:
            self.error.print(Text(f"  {text}", style="dim"))

    def lines(self, title: str, lines: Iterable[str]) -> None:
        if self.machine:
            return
        self.out.print(Text(title, style="bold"))
        for line in lines:
            self.out.print(Text(f"  {line}"), soft_wrap=True)

    def table(self, rows: list[list[str]]) -> None:
        """Rows of cells, the first one being heads; as wide as it has to be where no person sees it at once."""
        if self.machine:
            return
        if not self.out.is_terminal:
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            for row in rows:
                line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
                self.out.print(Text(line.rstrip()), soft_wrap=True)
            return
        table = Table(box=box.SIMPLE, pad_edge=False)
        for head in rows[0]:
            table.add_column(Text(head))
        for row in rows[1:]:
            table.add_row(*map(Text, row))
        self.out.print(table)

    def json(self, value: Any) -> None:
        """For machines only: one JSON value a line."""
        import json

        if self.machine:
            print(json.dumps(value, ensure_ascii=False), flush=True)

    def follow(self, stream: Iterable[Event], title: str = "training") -> Event | None:
        """Shows every event of a training; returns the last one."""
        last: Event | None = None
        pace = Pace()
        with self.bar(title) if not self.machine else nullcontext() as bar:
            task = bar.add_task(title, total=None, loss="") if bar else None
            for event in stream:
                last = event
                if bar is None or task is None:
                    self.json(events.to_json(event))
                elif isinstance(event, events.Progress):
                    loss = "  ".join(
                        f"{k.removesuffix('/loss')} {v:.4f}" for k, v in event.losses.items() if k.endswith("/loss")
                    )
                    bar.update(task, total=event.steps, completed=event.step, loss=f"{loss}  {event.rate:.0f}/s")
                    if not self.out.is_terminal and event.step < event.steps and pace.due():
                        self.plain(event, loss)
                else:
                    self.show(event)
        return last

    def plain(self, event: events.Progress, loss: str) -> None:
        """A progress line for a file or a log."""
        from aurify.plan import clock

        done = f"step {event.step:,} of {event.steps:,}  {loss}  {event.rate:.0f}/s"
        self.out.print(Text(f"{done}  about {clock(event.eta)} left", style="dim"), soft_wrap=True)

    def show(self, event: Event) -> None:
        match event:
            case events.Previewed(step=step, path=path, terminal=terminal, copied=copied):
                copies = "" if copied is None else f"  like training samples: {copied:.0%}"
                self.out.print(Text(f"step {step}  {path}{copies}", style="dim"))
                if self.out.is_terminal:  # elsewhere colours are lost and blocks say nothing
                    self.out.print(Text.from_ansi(terminal))
            case events.Evaluated(step=step, figures=figures):
                told = {name: value for name, value in figures.items() if name.endswith(("/loss", "/energy"))}
                values = "  ".join(f"{name} {value:.4f}" for name, value in told.items())
                self.out.print(Text(f"step {step}  {values}"))
            case events.Notice(text=text):
                self.out.print(Text(f"! {text}", style="yellow"), soft_wrap=True)
            case _:
                pass

    def bar(self, title: str) -> Progress:
        """A progress line with ETA; on a screen that is a file it prints nothing, because nothing there can move."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[loss]}"),
        )
        return Progress(*columns, console=self.out, disable=not self.out.is_terminal, transient=True)

    def track(self, things: Iterable[Any], title: str, total: float) -> Iterable[Any]:
        """The things as they come, with a progress line; where none can move, a line now and then."""
        from aurify.recipes import counted

        if self.machine:
            yield from things
            return
        plain = counted(title, self.say, QUIET)
        with self.bar(title) as bar:
            task = bar.add_task(title, total=total, loss="")
            for done, thing in enumerate(things, 1):
                bar.advance(task)
                if not self.out.is_terminal:
                    plain(done, int(total))
                yield thing

    def until(self, stream: Iterable[Any], title: str) -> Any:
        """Follows (what is being done, share done) and returns what comes at last; where no line can move, says each
        thing once, when it begins."""
        last, said = None, ""
        with self.bar(title) if not self.machine else nullcontext() as bar:
            task = bar.add_task(title, total=100, loss="") if bar else None
            for last in stream:
                match last:
                    case (str(doing), int() | float() as share) if bar is not None and task is not None:
                        bar.update(task, description=doing, completed=100 * share)
                        if doing != said and not self.out.is_terminal:
                            self.say(doing)
                        said = doing
                    case _:
                        pass
        return last
