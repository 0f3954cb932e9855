"""Would another inference engine pay? CPU time a film and distance of the probabilities.

    pip install openvino==2026.4.1 nncf==3.4.0      # into an environment of its own
    python -m benchmarks.engines ARCHIVE [--films 64] [--out FILE.json]

torch as an expert's script runs it (bfloat16, folded, channels_last), the same packed as vfscreen
runs it, torch compiled with freezing, OpenVINO in bfloat16, OpenVINO in int8 (NNCF, calibrated on
the same films: the best case for it). One thread each, batches of four, engines in turn, so that
noise falls on all; CPU seconds, not the clock's.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.machine import describe, version_of
from vfscreen.errors import VfscreenError
from vfscreen.imaging.dali import Preparer
from vfscreen.imaging.decode import decode_film
from vfscreen.imaging.failure import FilmError
from vfscreen.model.checkpoint import CheckpointInfo, load_weights, read_info
from vfscreen.model.inference import Predictor, fold
from vfscreen.results.calibrations import probability

BATCH = 4
REPEATS = 6
Engine = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def prepared(archive: Path, info: CheckpointInfo, count: int) -> NDArray[np.float32]:
    """The first films of an archive as the network sees them, whole batches of them."""
    preparer, pixels = Preparer(info.preprocessing, 1), []
    for path in sorted(p for p in archive.rglob("*") if p.is_file()):
        try:
            film = decode_film(str(path), info.preprocessing, reduced=True)
        except (FilmError, VfscreenError):
            continue
        batch = preparer.prepare([film.display], [film.region])
        pixels.append(np.array(np.from_dlpack(batch))[0])
        if len(pixels) == count:
            break
    return np.stack(pixels[: len(pixels) // BATCH * BATCH])


def openvino_engines(network: torch.nn.Module, films: NDArray[np.float32]) -> dict[str, Engine]:
    """OpenVINO with one stream and one thread; empty where it is not installed."""
    try:
        import nncf
        import openvino
    except ImportError:
        print("openvino and nncf are not installed: torch only", file=sys.stderr)
        return {}
    plain = network.to(memory_format=torch.contiguous_format)
    shape = [BATCH, *films.shape[1:]]
    model = openvino.convert_model(plain, example_input=torch.zeros(shape), input=shape)
    batches = [films[i : i + BATCH] for i in range(0, len(films), BATCH)]
    quantised = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches))
    options = {
        "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16",
    }  # fmt: skip

    def engine(source: Any) -> Engine:
        compiled = openvino.Core().compile_model(source, "CPU", options)
        return lambda batch: np.array(next(iter(compiled([batch]).values())))

    return {"OpenVINO bfloat16": engine(model), "OpenVINO int8": engine(quantised)}


def main() -> None:
    """Measure and print, as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archive", type=Path)
    parser.add_argument("--films", type=int, default=64)
    parser.add_argument("--out", type=Path, help="where the JSON goes as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    info = read_info("demo")
    films = prepared(arguments.archive, info, arguments.films)
    plain = Predictor(info, device="cpu", precision="float32")
    packed = Predictor(info, device="cpu")
    dtype = getattr(torch, packed.precision)
    (member,) = load_weights(info).members
    folded = fold(member, packed.device, dtype)
    compiled = torch.compile(folded, options={"freezing": True})

    def torch_engine(network: Callable[[torch.Tensor], torch.Tensor]) -> Engine:
        @torch.inference_mode()
        def engine(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            x = torch.from_numpy(batch).to(dtype).contiguous(memory_format=torch.channels_last)
            return network(x).numpy()

        return engine

    engines: dict[str, Engine] = {
        "torch": torch_engine(folded),
        "torch packed": lambda batch: packed.logits(torch.from_numpy(batch)),
        "torch compiled, frozen": torch_engine(compiled),
        **openvino_engines(fold(member, packed.device, torch.float32), films),
    }
    began = time.perf_counter()
    engines["torch compiled, frozen"](films[:BATCH])
    compile_s = time.perf_counter() - began
    calibration = info.calibration[info.findings[0]]

    def probabilities(engine: Engine) -> NDArray[np.float64]:
        parts = [engine(films[i : i + BATCH])[:, 0] for i in range(0, len(films), BATCH)]
        logits = np.concatenate(parts).astype(np.float64)
        return probability(logits, calibration)

    reference = probabilities(lambda batch: plain.logits(torch.from_numpy(batch)))
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(REPEATS):
        for name, engine in engines.items():
            engine(films[:BATCH])
            start = time.process_time()
            for i in range(0, 32, BATCH):
                engine(films[i % len(films) : i % len(films) + BATCH])
            seconds[name].append((time.process_time() - start) / 32)
    first = statistics.median(seconds["torch"])
    report = {
        name: {
            "core_ms_a_film": round(1000 * statistics.median(seconds[name]), 1),
            "against_torch": round(first / statistics.median(seconds[name]), 2),
            "largest_difference": round(float(abs(probabilities(e) - reference).max()), 4),
            "mean_difference": round(float(abs(probabilities(e) - reference).mean()), 5),
        }
        for name, e in engines.items()
    }
    machine = describe()
    machine["versions"] |= {name: version_of(name) for name in ("openvino", "nncf")}
    measured = {
        "machine": machine,
        "films": len(films),
        "compile_s": round(compile_s, 1),
        "engines": report,
    }
    text = json.dumps(measured, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
