"""Progress: a tqdm bar on a terminal, one log line a minute elsewhere."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("vfscreen")

LOG_EVERY_S = 60.0


@dataclass(slots=True)
class Progress:
    """Counts up towards `total` (None: unknown) and shows it in the way that fits the output."""

    title: str
    unit: str
    total: int | None = None
    done: int = 0
    bar: Any = None
    began: float = field(default_factory=time.monotonic)
    logged: float = field(default_factory=time.monotonic)

    def __call__(self, count: int = 1) -> None:
        """Count `count` more."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
            return
        now = time.monotonic()
        if now - self.logged >= LOG_EVERY_S:
            self.logged = now
            of = f" of {self.total}" if self.total is not None else ""
            rate = self.done / max(now - self.began, 1e-9)
            log.info("%s: %d%s %s, %.1f/s", self.title, self.done, of, self.unit, rate)


@contextmanager
def progress(title: str, *, unit: str, total: int | None = None) -> Iterator[Progress]:
    """Show the progress of one step; the bar goes to standard error, which must be a terminal."""
    shown = Progress(title, unit, total)
    if sys.stderr.isatty():
        from tqdm import tqdm

        # A step of under two seconds shows no bar.
        shown.bar = tqdm(
            desc=title, unit=f" {unit}", total=total, delay=1.0, leave=False, dynamic_ncols=True
        )
    try:
        yield shown
    finally:
        if shown.bar is not None:
            shown.bar.close()
