"""A small training that writes its state after every batch: `training_to_kill.py STATE OUT`.

OUT is written at the end, as a safetensors file of the network. The drill kills it on the way.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from vfscreen.model.batches import FilmArrays, Films
from vfscreen.model.network import build
from vfscreen.model.plan import TrainingPlan
from vfscreen.model.training import train
from vfscreen.preprocessing import Preprocessing

state, out = (Path(argument) for argument in sys.argv[1:])
torch.set_num_threads(1)
rng = np.random.default_rng(0)
films = rng.integers(0, 256, (16, 1, 32, 32)).astype(np.uint8)
targets = (np.arange(16) % 2).astype(np.float32).reshape(16, 1, 1)
arrays = FilmArrays(films, targets)
torch.manual_seed(0)
trained = train(
    build("resnext50_32x4d", ("vertebral_fracture",)),
    Films(arrays, np.arange(12)),
    Preprocessing(input_size_px=32),
    TrainingPlan(epochs=2, batch_size=4, statistics_passes=2),
    torch.device("cpu"),
    validation=Films(arrays, np.arange(12, 16)),
    state=state,
    state_every_s=0,
)
save_file({name: value.contiguous() for name, value in trained.model.state_dict().items()}, out)
