"""Stopping a run early and cleanly: Ctrl-C, SIGTERM, or a time of day."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import FrameType

from vfscreen.errors import UsageError

GRACE_S = 4.0
"""How long heatmaps may still take after a signal: Ctrl-C is answered within 10 s in all."""


@dataclass(slots=True)
class StopRequest:
    """Asked between films and batches; once true, it stays true."""

    stop_at: float | None = None  # seconds since the epoch
    reason: str | None = None
    asked_at: float | None = None  # monotonic seconds

    def __call__(self) -> bool:
        """Whether the run is to end now."""
        if self.reason is None and self.stop_at is not None and time.time() >= self.stop_at:
            self.ask("the time given by --stop-at has come")
        return self.reason is not None

    def ask(self, reason: str) -> None:
        """Ask the run to end; the first reason stays."""
        if self.reason is None:
            self.reason, self.asked_at = reason, time.monotonic()

    def out_of_grace(self) -> bool:
        """Whether a signal came so long ago that even the finishing steps must end."""
        by_signal = self.reason is not None and self.reason.startswith("signal")
        return by_signal and time.monotonic() - (self.asked_at or 0.0) > GRACE_S


def parse_stop_at(text: str, now: datetime) -> float:
    """`HH:MM` (the next one, local time) or an ISO date and time, as seconds since the epoch.

    Raises
    ------
    UsageError
        The text is neither, or the moment lies in the past.
    """
    try:
        clock = datetime.strptime(text, "%H:%M").time()
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"--stop-at takes a time like 06:30 or 2026-01-31T06:30, not {text!r}."
            ) from None
        if moment.timestamp() <= now.timestamp():
            raise UsageError(f"--stop-at {text} lies in the past.") from None
        return moment.timestamp()
    moment = now.replace(hour=clock.hour, minute=clock.minute, second=0, microsecond=0)
    if moment <= now:
        moment += timedelta(days=1)
    return moment.timestamp()


@contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a request; a second SIGINT ends at once, as usual."""

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.reason is not None and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.kill(os.getpid(), signal.SIGINT)
        stop.ask(f"signal {signal.Signals(number).name}")

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
