"""How far a verb is, on stderr: a bar on a terminal, lines in a pipe, JSON lines on demand."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from cli.output import printable
from recovery.model import Progress

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


@contextmanager
def progress(*, json_log: bool) -> Iterator[Progress]:
    """The progress that fits where stderr goes; what it began is finished at the end."""
    if json_log:
        with _JsonLines() as lines:
            yield lines
    elif sys.stderr.isatty():
        with _Terminal() as terminal:
            yield terminal
    else:
        yield _Plain()


class _Plain:
    """One line per stage and note."""

    def stage(self, name: str, *, total: int = 0) -> None:
        self._print(f"{name} ...")

    def advance(self, amount: int = 1) -> None:
        pass

    def note(self, text: str) -> None:
        self._print(f"  {text}")

    def _print(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)


class _Terminal:
    """A bar for the stage that runs, notes above it; stages that are over stay as one line."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            redirect_stdout=False,  # results go where they were sent
        )
        self._task: TaskID | None = None
        self._name = ""
        self._began = 0.0

    def __enter__(self) -> "_Terminal":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._over()
        self._bars.stop()

    def stage(self, name: str, *, total: int = 0) -> None:
        self._over()
        self._name, self._began = printable(name), time.monotonic()
        self._task = self._bars.add_task(self._name, total=total or None)

    def advance(self, amount: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, amount)

    def note(self, text: str) -> None:
        self._console.print(Text(f"  {printable(text)}"), soft_wrap=True)

    def _over(self) -> None:
        if self._task is None:
            return
        self._bars.remove_task(self._task)
        self._task = None
        seconds = time.monotonic() - self._began
        self._console.print(Text(f"{self._name}  {seconds:.1f} s", style="dim"), soft_wrap=True)


class _JsonLines:
    """Events for a collector of logs: a stage begins, a stage is over, a note."""

    def __init__(self) -> None:
        self._log = logger()
        self._name = ""
        self._done = 0
        self._began = 0.0

    def __enter__(self) -> "_JsonLines":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._over()

    def stage(self, name: str, *, total: int = 0) -> None:
        self._over()
        self._name, self._done, self._began = name, 0, time.monotonic()
        self._log.info("stage began", stage=name, total=total)

    def advance(self, amount: int = 1) -> None:
        self._done += amount

    def note(self, text: str) -> None:
        self._log.info("note", stage=self._name, text=text)

    def _over(self) -> None:
        if self._name:
            seconds = round(time.monotonic() - self._began, 3)
            self._log.info("stage over", stage=self._name, done=self._done, seconds=seconds)
            self._name = ""


def logger() -> "FilteringBoundLogger":
    """Writes JSON lines to stderr: level, time, event and what is passed."""
    import structlog  # half of the time a command needs to start, for those who want it

    bound: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return bound
