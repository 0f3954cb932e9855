"""vfscreen itself: the whole nightly job as a site would start it, writing on, into a new folder.

Each archive is a run of its own, as each night is. The rate is that of the ledger's stage `screen`:
from the first film asked for until the last part is published. Start-up is all the rest of the
process: imports, scan, plan, network, flagging, the one heatmap that the list may ask for.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.corpus import Corpus, options_of
from benchmarks.process import run

# A list of one: heatmaps are explained on the list's capacity, whatever the archive's size.
SETTINGS = "[list]\ncapacity = 1\n"
# The canary decodes at least 8 films a run a second time. A night of many thousands does not
# notice; these few films stand for such a night.
NO_CANARY = "[canary]\nmin_films = 0\n"


def main() -> None:
    parser = options_of("Measure vfscreen.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--canary", action="store_true", help="leave the canary at its default")
    options = parser.parse_args()
    settings = SETTINGS if options.canary else SETTINGS + NO_CANARY
    passes = [
        measured(options.corpus, archive, options.checkpoint, settings)
        for archive in options.archives
    ]
    options.out.write_text(json.dumps({"settings": {"toml": settings}, "passes": passes}))


def measured(corpus: Corpus, archive: str, checkpoint: str, settings: str) -> dict[str, Any]:
    """One night on one archive."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "vfscreen.toml").write_text(settings)
        results = folder / "results"
        finished = run(
            [
                sys.executable, "-m", "vfscreen.cli.main", "screen", str(corpus.folder / archive),
                "--checkpoint", checkpoint, "--results", str(results),
            ],
            cwd=folder, environment={"XDG_CONFIG_HOME": str(folder / "config")},
        )  # fmt: skip
        ledger = json.loads(next((results / "runs").glob("*.json")).read_text())
        found = _probabilities(results)
    films = corpus.archives[archive]
    stage = ledger["stages"]["screen"]
    if ledger["screened"] != len(films):
        raise SystemExit(f"{archive}: {ledger['screened']} of {len(films)} films were screened")
    return {
        "archive": archive,
        "films": len(films),
        "seconds": stage["seconds"],
        "startup_s": finished.wall_s - stage["seconds"],
        "peak_bytes": finished.peak_tree_bytes,
        "stages": ledger["stages"],
        "decode_routes": ledger["decode_routes"],
        "probabilities": [found[film["sop_instance_uid"]] for film in films],
    }


def _probabilities(results: Path) -> dict[str, float]:
    import pyarrow.dataset

    parts = sorted((results / "predictions").glob("*.parquet"))
    table = pyarrow.dataset.dataset([str(part) for part in parts]).to_table(
        columns=["sop_instance_uid", "raw_probability"]
    )
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


if __name__ == "__main__":
    main()
