"""Output of commands: progress on standard error, results on standard output."""

import contextlib
import json
import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import click

from refiner.core.environment import environment

if TYPE_CHECKING:
    from refiner.data.folders.left_out import LeftOut


class Advance(Protocol):
    """Called with the number done, the total, and a short note."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show the progress."""


_PLAIN_SECONDS = 10.0  # between two lines if standard error is no terminal


def one_line(text: str) -> str:
    """Return a message as one line of at most 2,000 characters; file names in it may hold any character."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= 2000 else f"{line[:1500]} ... {line[-450:]}"


class OneLine(logging.Formatter):
    """Log formatter that keeps each message on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line; a traceback keeps its lines."""
        return super().format(record) if record.exc_info else one_line(super().format(record))


@contextlib.contextmanager
def progress(what: str) -> Iterator[Advance]:
    """Show progress: a bar with rate and time left on a terminal, a plain line now and then otherwise."""
    if not logging.getLogger("refiner").isEnabledFor(logging.INFO):  # --quiet
        yield _silent
        return
    if sys.stderr.isatty():
        with _bar(what) as advance:
            yield advance
        return
    # Without a terminal, print a line now and then.
    last, pace = time.monotonic(), _Pace()

    def line(done: int, total: int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        rate = pace.rate(done, total)
        if now - last >= _PLAIN_SECONDS or (done == total and now - last >= 1):
            last = now
            left = f", {(total - done) / rate:.0f} s left" if rate and done < total else ""
            click.echo(f"{what}: {done:,} of {total:,}, {rate:.1f}/s{left}{note and ', '}{note}", err=True)

    yield line


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, rate="", note="")
        pace = _Pace()

        def advance(done: int, total: int, note: str = "") -> None:
            bar.update(task, completed=done, total=total, rate=f"{pace.rate(done, total):.1f}/s", note=note)

        yield advance


def _silent(done: int, total: int, note: str = "") -> None:
    """Show nothing."""


class _Pace:
    """Rate of a job, without items that were finished before it started; a new total starts a new job."""

    def __init__(self) -> None:
        self._total = self._first = -1
        self._start = 0.0

    def rate(self, done: int, total: int) -> float:
        """Return the items per second since the first call for this job."""
        # A new total, or a count that went back, starts a new job.
        if total != self._total or done < self._first:
            self._total, self._first, self._start = total, done, time.monotonic()
        return (done - self._first) / max(time.monotonic() - self._start, 1e-9)


def print_left_out(reports: Iterable["LeftOut"]) -> bool:
    """Print a line on standard error for each report; return whether labels or images are lost in the result."""
    lost = False
    for report in reports:
        click.echo(one_line(report.text), err=True)
        lost = lost or report.is_loss
    return lost


def plain_values(value: Any) -> Any:
    """Convert to values that JSON can hold; numbers that are not finite become null."""
    if isinstance(value, dict):
        return {str(key): plain_values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(command: str, *, facts: Mapping[str, Any] | None = None, **metrics: Any) -> None:
    """Print one JSON object with the command, the version, the environment and the metrics.

    Args:
        command: name of the command.
        facts: the environment, if the caller has it already.
        metrics: further entries of the object.
    """
    facts = facts or environment()
    click.echo(
        json.dumps(
            {"command": command, "version": facts["versions"].get("simgan-refiner"), "environment": facts, **metrics}
        )
    )
