"""The labellers that are compared, and the process in which one of them runs.

``python -m benchmarks.label_systems NAME`` reads a request as JSON from standard input, stays on
one core, and answers as JSON: every text's label, and how long a usual mix takes when warm.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.machine import version_of

VFSCREEN = "vfscreen"
# A pass over the mix takes vfscreen a fraction of a second: too short to be timed.
TIMED_S = 3.0


@dataclass(frozen=True, slots=True)
class System:
    """A baseline: `shown` in tables, `packages` whose versions are stated."""

    shown: str
    module: str = ""
    load: str = "load"
    packages: tuple[str, ...] = ()


SYSTEMS = {
    VFSCREEN: System("**vfscreen**"),
    "chexpert": System("CheXpert-style, its own phrase", "chexpert"),
    "chexpert-spine": System("CheXpert-style, spine words added", "chexpert", "load_spine"),
    "negex": System("NegEx (negspacy)", "negex", packages=("negspacy", "spacy")),
    "context": System("ConText (medspaCy)", "context", packages=("medspacy", "spacy", "PyRuSH")),
    "context-fast": System(
        "ConText (medspaCy), spaCy's sentences", "context", "load_fast", ("medspacy", "spacy")
    ),
    "regex": System("regular expression", "regular_expression"),
}

Answer = dict[str, Any]


def load(name: str) -> Callable[[dict[str, Any]], Answer]:
    """A labeller of one item: its `text`, and for vfscreen its `finding` and `kind`."""
    if name == VFSCREEN:
        return vfscreen_answer
    system = SYSTEMS[name]
    module = importlib.import_module(f"benchmarks.label_baselines.{system.module}")
    label: Callable[[str], str] = getattr(module, system.load)()
    return lambda item: {"report_status": label(item["text"])}


def vfscreen_answer(item: dict[str, Any]) -> Answer:
    """What vfscreen says of an item, by the shipped lexicons of its finding."""
    from vfscreen.reports.labelling import label
    from vfscreen.reports.lexicon import load as load_lexicon

    lexicon = load_lexicon(finding=item["finding"])
    return asdict(label(item["text"], lexicon, item.get("kind")))


def measure(name: str, request: dict[str, Any]) -> dict[str, Any]:
    """Load, label and time one system.

    `items` are labelled once, in order; `timed` are labelled in whole passes, warm, until
    `TIMED_S` have gone. Seconds are CPU time of this process, which has one thread.
    """
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    began = time.process_time()
    label = load(name)
    label({"text": "No acute fracture.", "finding": "vertebral_fracture"})
    startup_s = time.process_time() - began
    answers = [label(item) for item in request["items"]]
    timed = request["timed"]
    for item in timed:  # warm
        label(item)
    reports = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < TIMED_S:
        for item in timed:
            label(item)
        reports += len(timed)
    return {
        "answers": answers,
        "startup_s": round(startup_s, 3),
        "reports": reports,
        "cpu_s": round(spent, 3),
        "versions": {package: version_of(package) for package in SYSTEMS[name].packages},
    }


def main() -> None:
    """Answer one request."""
    json.dump(measure(sys.argv[1], json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
