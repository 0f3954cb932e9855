"""Which settings the tuned baseline does best with: `python -m benchmarks.sweep`, some minutes.

On a quiet machine only. The best over raw, JPEG lossless and mixed is what `systems/tuned.py`
should have as its default.
"""

import itertools
import json
import tempfile
from pathlib import Path

from benchmarks.corpus import corpus
from benchmarks.grid import BASELINE_PYTHON, ROOT
from benchmarks.process import interrupt_on_sigterm, run, say
from benchmarks.systems.tuned import CORES

ARCHIVES = ("raw", "jpeg-lossless", "mixed")
SETTINGS = tuple(itertools.product((CORES, 2 * CORES), (4, 8, 16), (1, CORES)))


def main() -> None:
    interrupt_on_sigterm()
    made = corpus()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        for workers, batch_size, threads in SETTINGS:
            command = [
                str(BASELINE_PYTHON), "-m", "benchmarks.systems.tuned",
                "--corpus", str(made.folder), "--archives", ",".join(ARCHIVES),
                "--checkpoint", "demo", "--out", str(out), "--workers", str(workers),
                "--batch-size", str(batch_size), "--threads", str(threads),
            ]  # fmt: skip
            run(command, cwd=ROOT)
            rates = [p["films"] / p["seconds"] for p in json.loads(out.read_text())["passes"]]
            shown = ", ".join(f"{a} {r:.1f}" for a, r in zip(ARCHIVES, rates, strict=True))
            say(f"{workers} workers, batches of {batch_size}, {threads} threads: {shown} films/s")


if __name__ == "__main__":
    main()
