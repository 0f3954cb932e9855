"""The compiled network: as the eager one, in lanes, and without a compiler not at all."""

import json
import os

import pytest
from conftest import screen, vfscreen

COMPILE = "\n[inference]\ncompile_from = 1\nbatch_size = 4\n"


def probabilities(folder, results):
    answer = vfscreen(
        "sql", "select sop_instance_uid, probability from predictions", "--format", "json",
        "--results", folder / results, cwd=folder,
    )  # fmt: skip
    return {row["sop_instance_uid"]: row["probability"] for row in json.loads(answer.stdout)}


def ledger(folder, results):
    return json.loads(next((folder / results / "runs").glob("*.json")).read_text())


@pytest.mark.drill
def test_a_long_run_compiles_the_network_and_gets_the_same_probabilities(phantom, site):
    settings = site / "vfscreen.toml"
    screen(site, phantom, results="eager")
    assert ledger(site, "eager")["host"]["compiled"] is False
    settings.write_text(settings.read_text().replace("[inference]\nbatch_size = 4\n", COMPILE))
    screen(site, phantom, results="compiled")
    assert ledger(site, "compiled")["host"]["compiled"] is True
    eager, compiled = probabilities(site, "eager"), probabilities(site, "compiled")
    assert eager.keys() == compiled.keys() and len(eager) > 10
    assert max(abs(eager[uid] - compiled[uid]) for uid in eager) < 0.01


@pytest.mark.drill
def test_without_a_compiler_the_network_runs_as_it_is(phantom, site):
    settings = site / "vfscreen.toml"
    settings.write_text(settings.read_text().replace("[inference]\nbatch_size = 4\n", COMPILE))
    nowhere = {"CXX": "/nowhere/c++", "TORCHINDUCTOR_CACHE_DIR": str(site / "cache")}
    answer = screen(site, phantom, **(nowhere | {"PATH": os.environ["PATH"]}))
    assert ledger(site, "results")["host"]["compiled"] is False
    assert "the network is not compiled" in answer.stderr
