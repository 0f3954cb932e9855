"""The figures of the model card, on the session's small phantom archive."""

import subprocess
import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

from vfscreen.jobs.phantom_figures import card, phantom_figures


def test_every_eligible_film_of_the_truth_counts(workplace, phantom):
    figures = phantom_figures(workplace / "results", phantom / "truth.parquet")
    truth = pq.read_table(phantom / "truth.parquet")
    wanted = truth.filter(pc.and_(truth["eligible"], truth["drawn"]))
    assert figures.films_not_screened == 0
    assert figures.studies == len(set(wanted["study_instance_uid"].to_pylist()))
    found = figures.sensitivity
    assert sum(found[f"sensitivity, grade {g}"].total for g in (1, 2, 3)) + found[
        "specificity"
    ].total == len(set(wanted["study_instance_uid"].to_pylist()))


def test_the_module_prints_the_cards_table(workplace, phantom):
    command = ["-m", "vfscreen.jobs.phantom_figures", workplace / "results"]
    answer = subprocess.run(
        [sys.executable, *map(str, command), str(phantom / "truth.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = phantom_figures(workplace / "results", phantom / "truth.parquet")
    assert answer.stdout.startswith(card(figures))
    assert "nothing here is about patients" in answer.stdout
