"""The probabilities that every system should find: the plain reference, in float32, film by film.

Computed once a corpus, checkpoint and input size, and kept beside the films. Lossless archives of
the same pictures share one answer: the raw archive's.
"""

import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.corpus import LOSSY, Corpus, options_of

CHUNK = 8


def reference_file(corpus: Corpus, model_sha256: str) -> Path:
    """Where the answers are kept; the input size is part of a model's hash."""
    return corpus.folder / f"reference-{model_sha256[:12]}.json"


def key(film: dict[str, Any]) -> str:
    """Films with the same stored values have the same key."""
    syntax = film["syntax"] if film["syntax"] in LOSSY else "raw"
    return f"{syntax}/{film['picture']:03d}.dcm"


def known(corpus: Corpus, archive: str, films: int, model_sha256: str) -> list[float]:
    """The reference's probabilities of the first films of an archive."""
    answers = json.loads(reference_file(corpus, model_sha256).read_text())
    return [answers[key(film)] for film in corpus.archives[archive][:films]]


def complete(corpus: Corpus, archives: list[str], checkpoint: str) -> None:
    """Compute what is missing."""
    from vfscreen.model.checkpoint import load_weights, read_info

    info = read_info(checkpoint)
    file = reference_file(corpus, info.model_sha256)
    answers: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    wanted = {key(film) for archive in archives for film in corpus.archives[archive]}
    missing = sorted(wanted - answers.keys())
    if not missing:
        return
    import torch

    model = load_weights(info)
    prepare = partial(_prepared, spec=info.preprocessing)
    paths = [corpus.folder / name for name in missing]
    with ProcessPoolExecutor(2) as pool, tqdm(total=len(paths), unit=" films") as bar:
        bar.set_description("reference")
        for start in range(0, len(paths), CHUNK):
            films = np.stack(list(pool.map(prepare, paths[start : start + CHUNK])))
            with torch.inference_mode():
                found = torch.sigmoid(model(torch.from_numpy(films)))[:, 0].tolist()
            answers |= dict(zip(missing[start : start + CHUNK], found, strict=True))
            aside = file.with_suffix(".part")
            aside.write_text(json.dumps(answers, indent=1))
            aside.replace(file)
            bar.update(len(films))


def _prepared(path: Path, *, spec: Any) -> Any:
    import pydicom

    from vfscreen.imaging.reference import reference_display, reference_prepare

    shown = reference_display(pydicom.dcmread(path), spec)
    return reference_prepare(np.rint(shown * 65535).astype(np.uint16), spec)


def main() -> None:
    options = options_of("Compute the reference's probabilities.").parse_args()
    complete(options.corpus, options.archives, options.checkpoint)


if __name__ == "__main__":
    main()
