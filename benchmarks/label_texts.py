"""The texts that labellers are compared on, as items: text, finding, kind of report."""

from typing import Any

from benchmarks import openi
from benchmarks.report_sets import rows
from vfscreen.phantom.anatomy import Variant, sample_patient
from vfscreen.phantom.dictation import dictate, draw_report_status
from vfscreen.phantom.reporting import NO_REPORT
from vfscreen.phantom.streams import stream

Item = dict[str, Any]
FINDING = "vertebral_fracture"
# Far from the seeds of archives and from those that train and validate.
PHANTOM_SEEDS = 3 * 10**12
PHANTOM_STUDIES = 4000
# Of each source, evenly spaced: what a labeller is timed on.
TIMED_EACH = 750


def set_items(name: str) -> list[Item]:
    """The rows of a set, as they are, each an item."""
    return list(rows(name))


def openi_items(reports: list[openi.Report]) -> list[Item]:
    """OpenI's reports."""
    return [{"text": report.text, "finding": FINDING, "uid": report.uid} for report in reports]


def phantom_items(studies: int = PHANTOM_STUDIES) -> list[Item]:
    """Reports of phantom patients in the shares of an archive, no film rendered.

    Each item names its `study` and what the study's reports together say (`truth`, `known`). A
    corrected report stands alone: it replaces the one before.
    """
    items: list[Item] = []
    for study in range(studies):
        patient = sample_patient(PHANTOM_SEEDS + study)
        fractures = patient.fractures if patient.variant is Variant.FRACTURE else ()
        rng = stream(PHANTOM_SEEDS, "benchmark reports", study)
        status, known = draw_report_status(rng, bool(fractures))
        if status == NO_REPORT:
            continue
        dictated = dictate(
            rng,
            fractures=fractures,
            mimics=patient.mimics if patient.variant is Variant.MIMIC else (),
            age_years=patient.age_years,
            sex=patient.sex,
            status=status,
            history=known,
        )
        last = dictated[-1]
        items += [
            {
                "text": report.text, "kind": report.kind, "finding": FINDING,
                "study": study, "truth": status, "known": known,
            }
            for report in ([last] if last.kind == "corrected" else dictated)
        ]  # fmt: skip
    return items


def usual_mix(*sources: list[Item]) -> list[Item]:
    """Evenly spaced reports of each source that there is."""
    mix = []
    for items in sources:
        step = max(1, len(items) // TIMED_EACH)
        mix += items[::step][:TIMED_EACH]
    return mix
