"""A training in miniature, through everything: phantom films, DICOM, cache, loop, nightly job."""

import csv

import duckdb
import numpy as np
import pytest
import torch
from conftest import SMALL, vfscreen

from vfscreen import config_file
from vfscreen.jobs.stopping import StopRequest
from vfscreen.jobs.train import TrainRequest, run_train
from vfscreen.jobs.train_fold import first_weights
from vfscreen.model.checkpoint import load_weights
from vfscreen.model.statistics import auc
from vfscreen.model.validating import logits_of

MINIATURE = """\
[train]
init = "demo"
input_size_px = 224
epochs = 4
batch_size = 8
folds = 0
validation_share = 0.4
learning_rate = 1e-4
warm_up = 0.3
ema_steps = 2
frozen = ["stem", "stage1", "stage2"]
device = "cpu"
"""
"""The demonstration's features with an output layer that knows nothing: what a site does that goes
on from another network for a finding of its own."""


@pytest.mark.timeout(900)  # a minute on two quiet cores
def test_a_training_on_phantoms_ranks_ever_better_and_then_screens(phantom, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "vfscreen.toml").write_text(SMALL + MINIATURE)
    labels = (phantom / "labels.csv").read_text().replace("vertebral_fracture", "fracture")
    (tmp_path / "labels.csv").write_text(labels)
    config = config_file.load(tmp_path / "vfscreen.toml")
    out = tmp_path / "site.safetensors"
    request = TrainRequest(phantom / "archive", tmp_path / "labels.csv", out, keep_work=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # beside other tests a second thread waits more than it works
    try:
        outcome = run_train(request, config, StopRequest())
        data = outcome.data
        untrained, _ = first_weights(config.train, data.findings, 1)
        everything = data.source(np.arange(len(data.rows)))
        spec, cpu = outcome.info.preprocessing, torch.device("cpu")
        before = auc(logits_of(untrained.eval(), everything, spec, cpu, 8), data.targets)
    finally:
        torch.set_num_threads(threads)
    epochs = list(csv.DictReader((outcome.log / "epochs.csv").read_text().splitlines()))
    rising = [float(row["auc"]) for row in epochs]
    assert rising[-1] >= max(rising[0], 0.9)
    assert float(epochs[-1]["validation_loss"]) < float(epochs[0]["validation_loss"])
    assert rising[-1] > before + 0.1, (before, rising)
    assert outcome.info.preprocessing.input_size_px == 224

    (tmp_path / "vfscreen.toml").write_text(SMALL + '[list]\nfinding = "fracture"\n')
    vfscreen(
        "screen", phantom / "archive", "--checkpoint", out, "--results", "results", cwd=tmp_path
    )
    with duckdb.connect(str(tmp_path / "results" / "catalog.duckdb"), read_only=True) as catalogue:
        rows = catalogue.execute("select sop_instance_uid, logit from predictions").fetchall()
    logits, uids = dict(rows), data.films["sop_instance_uid"].to_pylist()
    assert set(uids) <= set(logits)
    # The nightly job sees the films that training saw, but for half a grey.
    after = logits_of(load_weights(outcome.info), everything, spec, cpu, 8)[:, 0]
    assert np.abs(after - [logits[uid] for uid in uids]).max() < 0.1
