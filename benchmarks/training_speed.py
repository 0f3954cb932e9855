"""How fast a network trains on random tensors in memory: forward, backward, AdamW, nothing else.

The reference of a training's speed, and what a study plans its epochs by. A process of its own:
`python -m benchmarks.training_speed resnext50_32x4d 224 224 16 20` prints films a second.
"""

import json
import sys
import time

import torch
from torch.nn import functional as nnf

from vfscreen.model.network import build
from vfscreen.model.validating import autocast_of

WARM_UP = 2


def films_per_s(
    architecture: str, height_px: int, width_px: int, batch_size: int, seconds: float
) -> float:
    """Films a second over at least `seconds` and three batches, after two that are not counted."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = build(architecture, ("finding",)).to(device).to(memory_format=torch.channels_last)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    films = torch.randn(batch_size, 1, height_px, width_px, device=device)
    targets = (torch.arange(batch_size, device=device) % 2).float()[:, None]
    began, done = time.perf_counter(), -WARM_UP
    while done < 3 or time.perf_counter() - began < seconds:
        if done == 0:
            began = time.perf_counter()
        with autocast_of(device):
            logits = model(films)
        loss = nnf.binary_cross_entropy_with_logits(logits, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for a GPU
        done += 1
    return done * batch_size / (time.perf_counter() - began)


if __name__ == "__main__":
    name, *numbers = sys.argv[1:]
    height, width, batch, length = (int(n) for n in numbers)
    print(json.dumps({"films_per_s": films_per_s(name, height, width, batch, length)}))
