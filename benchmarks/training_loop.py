"""The training loop's speed beside the same network's on random tensors.

Both train in one process and take turns: some steps of the loop (films gathered from a memory map,
varied, a step, averaging, the state written), then as many bare steps (forward, loss, backward,
AdamW, in the same precision) on one random batch that lies on the device. The share is the median
over the turns.

    python -m benchmarks.training_loop --out benchmarks/results
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as nnf

from benchmarks.machine import keep
from vfscreen.jobs.augmenting import augment_of
from vfscreen.model.batches import FilmArrays, Films
from vfscreen.model.network import build
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.training import train
from vfscreen.model.validating import autocast_of
from vfscreen.preprocessing import Preprocessing

FINDINGS = ("vertebral_fracture",)


class Bare:
    """The network alone, on one random batch."""

    def __init__(self, architecture: str, size_px: int, films: int, device: torch.device) -> None:
        model = build(architecture, FINDINGS).to(device).to(memory_format=torch.channels_last)
        self.model, self.device = model.train(), device
        shape = (films, 1, size_px, size_px)
        self.films = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
        self.targets = torch.randint(0, 2, (films, 1), device=device).float()
        fused = device.type == "cuda"
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)

    def steps(self, count: int) -> float:
        """Seconds that so many steps take."""
        wait(self.device)
        began = time.monotonic()
        for _ in range(count):
            with autocast_of(self.device):
                maps = self.model.feature_maps(self.films)[1]
            logits = self.model.classify(maps.float().mean((2, 3)))
            self.optimizer.zero_grad(set_to_none=True)
            nnf.binary_cross_entropy_with_logits(logits, self.targets).backward()
            self.optimizer.step()
        wait(self.device)
        return time.monotonic() - began


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Films a second of both, by turns; the first turn warms up and is not counted."""
    device, batch, turn = torch.device(options.device), options.batch_size, options.steps
    spec = Preprocessing(input_size_px=options.size_px)
    path = folder / "films.npy"
    shape = (batch * 8, 1, options.size_px, options.size_px)
    films = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    films[:] = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    targets = (np.arange(len(films)) % 2).astype(np.float32).reshape(-1, 1, 1)
    arrays = FilmArrays(np.load(path, mmap_mode="r"), targets)
    bare = Bare(options.architecture, options.size_px, batch, device)
    bare_s: list[float] = []
    loop_s: list[float] = []
    done, began = 0, time.monotonic()

    def take_turns() -> bool:
        nonlocal done, began
        done += 1
        if done % turn == 0:
            wait(device)
            loop_s.append(time.monotonic() - began)
            bare_s.append(bare.steps(turn))
            began = time.monotonic()
        return False

    train(
        build(options.architecture, FINDINGS),
        Films(arrays, np.arange(len(films))),
        spec,
        TrainingPlan(steps=turn * (options.turns + 1), batch_size=batch),
        device,
        augment=augment_of(options.augment, spec, batch, device),
        state=folder / "state.safetensors",
        stop=take_turns,
    )
    pairs = list(zip(loop_s, bare_s, strict=True))[1:]
    return {
        "architecture": options.architecture,
        "input_size_px": options.size_px,
        "batch_size": batch,
        "device": options.device,
        "augment": options.augment,
        "steps_a_turn": turn,
        "loop_films_per_s": [batch * turn / loop for loop, _ in pairs],
        "random_tensors_films_per_s": [batch * turn / bare for _, bare in pairs],
        "share": statistics.median(bare / loop for loop, bare in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--architecture", default="resnext50_32x4d")
    parser.add_argument("--size-px", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--augment", default="auto", choices=("auto", "dali", "torch"))
    parser.add_argument("--steps", type=int, default=4, help="steps a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder of the results file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measured(options, Path(folder))
    loop, bare = (
        statistics.median(figures[f"{name}_films_per_s"]) for name in ("loop", "random_tensors")
    )
    print(f"loop {loop:.2f} films/s, random tensors {bare:.2f}, share {figures['share']:.1%}")
    if options.out is not None:
        command = "python -m benchmarks.training_loop --out benchmarks/results"
        print(keep(options.out, f"training-loop-{options.augment}", command, figures))


if __name__ == "__main__":
    main()
