"""People who read the same films: their sensitivity and specificity beside the network's.

As in figure 3 of Chen et al. (2021), PLoS ONE 16(1):e0245992: each reader is a point, and lies
above the network's curve or below it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vfscreen.archive.walk import archive_root
from vfscreen.errors import LabelsError
from vfscreen.jobs.evaluation_figures import Bools, Rate, Resampling, Sample, rate
from vfscreen.jobs.evaluation_samples import ScoredFilms
from vfscreen.jobs.label_tables import ISSUER, KEYS, CsvTable, read_csv_table
from vfscreen.jobs.labels import LabelProblems
from vfscreen.jobs.run import Run
from vfscreen.model.statistics import Estimate
from vfscreen.results.catalogue import connect
from vfscreen.results.labels import match_labels

_YES, _NO = ("1", "true", "yes", "1.0"), ("0", "false", "no", "0.0")


@dataclass(frozen=True, slots=True)
class Calls:
    """What readers said of the films of an archive.

    Attributes
    ----------
    level : str
        `film` or `study`: what a call is about.
    readers : int
        How many; they are numbered in the order of their names, which go no further.
    calls : dict
        Finding and reader's number to the calls: a table of `sop_instance_uid` and `call`.
    problems : LabelProblems
        Rows of the file that are not used, and why.
    """

    level: str
    readers: int
    calls: dict[tuple[str, int], pa.Table]
    problems: LabelProblems


@dataclass(frozen=True, slots=True)
class ReaderFigures:
    """One reader beside the network, on the units that both have answered.

    `network_sensitivity` is the network's at the reader's specificity; `above` tells whether the
    reader lies above the network's curve of these units.
    """

    reader: int
    units: int
    sensitivity: Rate
    specificity: Rate
    accuracy: Rate
    network_auc: float
    network_sensitivity: float
    above: bool


@dataclass(frozen=True, slots=True)
class ReadersFigures:
    """All readers of one finding; the mean's interval is over patients, not over readers."""

    level: str
    readers: list[ReaderFigures]
    mean_sensitivity: Estimate | None
    mean_specificity: Estimate | None
    above: int
    not_compared: int


def read_calls(run: Run, path: Path, archive: Path, findings: tuple[str, ...]) -> Calls:
    """Read a CSV of readers' calls and match it with the archive, as labels are matched.

    Columns: one key as in a labels file (with `issuer`), `reader`, `call` (0 or 1), and `finding`
    where there are several; a call without one is of the first finding.

    Parameters
    ----------
    findings
        All that the checkpoint predicts.

    Raises
    ------
    LabelsError
        The file cannot be understood; the message names line and column, and no cell.
    """
    table = read_csv_table(path, "readers")
    key = next((key for key in KEYS if key in table.columns), None)
    for wanted in ("reader", "call"):
        if wanted not in table.columns:
            raise LabelsError(f"{path} has no column `{wanted}`.")
    if key is None:
        raise LabelsError(f"{path} has no column that names the films: {', '.join(KEYS)}.")
    reader = table.columns["reader"]
    _refuse_missing(path, table, "reader")
    names = sorted(set(reader.to_pylist()))
    finding = table.columns.get("finding", pa.nulls(len(reader), pa.string()))
    finding = pc.fill_null(finding, findings[0])
    strange = np.flatnonzero(pc.invert(pc.is_in(finding, value_set=pa.array(findings))))
    if len(strange):
        raise LabelsError(
            f"{path}: line {table.line[strange[0]]}, column `finding`: none of those that the "
            f"checkpoint predicts ({', '.join(findings)})."
        )
    both = [
        (f, names.index(r)) for f, r in zip(finding.to_pylist(), reader.to_pylist(), strict=True)
    ]
    known = {(f, n): place for place, (f, n) in enumerate(sorted(set(both)))}
    line = pa.array(table.line)
    issuer = table.columns.get(ISSUER) if key == "accession_number" else None
    rows = pa.table(
        {
            "line": line,
            "key": table.columns[key],
            "issuer": pa.nulls(len(line), pa.string()) if issuer is None else issuer,
        }
    )
    calls, filled = _answers(path, table)
    values = pa.table(
        {
            "line": line.filter(filled),
            "finding": pa.array([known[b] for b in both], pa.int32()).filter(filled),
            "value": calls.filter(filled).cast(pa.int8()),
        }
    )
    with connect(run.results) as catalogue:
        matched = match_labels(catalogue, key, rows, values, [archive_root(archive)])
    unused = matched.rows.filter(pc.is_valid(matched.rows["reason"]))
    return Calls(
        level="film" if key == "sop_instance_uid" else "study",
        readers=len(names),
        calls={
            pair: _of_films(matched.films, matched.values, place) for pair, place in known.items()
        },
        problems=LabelProblems(rows.num_rows, rows.num_rows - unused.num_rows, unused),
    )


def _refuse_missing(path: Path, table: CsvTable, column: str) -> None:
    missing = np.flatnonzero(np.asarray(pc.is_null(table.columns[column])))
    if len(missing):
        raise LabelsError(f"{path}: line {table.line[missing[0]]}, column `{column}`: empty.")


def _answers(path: Path, table: CsvTable) -> tuple[pa.Array, pa.Array]:
    """Calls as booleans, and where one is given."""
    cells = pc.utf8_lower(table.columns["call"])
    yes = pc.is_in(cells, value_set=pa.array(_YES))
    known = pc.or_(yes, pc.is_in(cells, value_set=pa.array(_NO)))
    filled = pc.is_valid(cells)
    wrong = np.flatnonzero(pc.and_not(filled, known))
    if len(wrong):
        raise LabelsError(
            f"{path}: line {table.line[wrong[0]]}, column `call`: neither 0 or 1, true or false, "
            "yes or no, nor empty for no call."
        )
    return yes, filled


def _of_films(films: pa.Table, values: pa.Table, place: int) -> pa.Table:
    said = values.filter(pc.equal(values["finding"], place))
    at = pc.index_in(films["unit"], value_set=said["unit"].combine_chunks())
    call = said["value"].take(at)
    known = pc.is_valid(call)
    return pa.table(
        {"sop_instance_uid": films["sop_instance_uid"].filter(known), "call": call.filter(known)}
    )


def reader_figures(
    calls: Calls, finding: str, films: ScoredFilms, scored: pa.Table, resampling: Resampling
) -> ReadersFigures | None:
    """Each reader of one finding beside the network; None where nobody has read it."""
    probabilities, labels, patients = (
        films.study_values()
        if calls.level == "study"
        else (films.probabilities, films.labels, films.patients)
    )
    found: list[ReaderFigures] = []
    samples: list[tuple[Sample, Bools]] = []
    not_compared = 0
    for (name, number), table in sorted(calls.calls.items(), key=lambda item: item[0]):
        if name != finding:
            continue
        said = _calls_of_units(table, films, scored, calls.level)
        answered = np.isfinite(said) & np.isfinite(probabilities)
        sample = Sample(probabilities[answered], labels[answered], patients[answered], labels[:0])
        if not sample.two_classes:
            not_compared += 1
            continue
        found.append(_reader(number + 1, sample, said[answered] == 1))
        samples.append((sample, said[answered] == 1))
    if not found and not not_compared:
        return None
    sensitivity, specificity = _means(samples, resampling) if samples else (None, None)
    return ReadersFigures(
        level=calls.level,
        readers=found,
        mean_sensitivity=sensitivity,
        mean_specificity=specificity,
        above=sum(reader.above for reader in found),
        not_compared=not_compared,
    )


def _calls_of_units(
    table: pa.Table, films: ScoredFilms, scored: pa.Table, level: str
) -> NDArray[np.float64]:
    """1, 0, or NaN for no call, in the order of the units."""
    uids = scored["sop_instance_uid"].take(pa.array(films.rows))
    at = pc.index_in(uids, value_set=table["sop_instance_uid"].combine_chunks())
    call = table["call"].take(at).cast(pa.float64())
    said = np.asarray(call.to_numpy(zero_copy_only=False), np.float64)
    if level == "film":
        return said
    _, first = np.unique(films.studies, return_index=True)
    return said[first]


def _reader(number: int, sample: Sample, said: Bools) -> ReaderFigures:
    from sklearn.metrics import roc_curve

    from vfscreen.model.statistics import auc

    y, every = sample.labels, np.ones_like(sample.labels)
    sensitivity = rate(said, sample, y, None)
    specificity = rate(~said, sample, ~y, None)
    assert sensitivity.value is not None
    assert specificity.value is not None
    false_positives, true_positives, _ = roc_curve(y, sample.probabilities, drop_intermediate=False)
    # At the end of a vertical stretch of the curve, its top counts.
    at = np.interp(1 - specificity.value + 1e-12, false_positives, true_positives)
    return ReaderFigures(
        reader=number,
        units=len(y),
        sensitivity=sensitivity,
        specificity=specificity,
        accuracy=rate(said == y, sample, every, None),
        network_auc=auc(sample.probabilities, y),
        network_sensitivity=float(at),
        above=sensitivity.value > float(at) + 1e-9,
    )


def _means(
    samples: list[tuple[Sample, Bools]], resampling: Resampling
) -> tuple[Estimate, Estimate]:
    """Mean sensitivity and specificity of the readers, patients drawn again for all at once."""
    from vfscreen.model.resampling import Floats, percentile, resample

    known = np.unique(np.concatenate([sample.patients for sample, _ in samples]))
    patients = len(known)
    tables = []
    for sample, said in samples:
        of, right = np.searchsorted(known, sample.patients), said == sample.labels
        for among in (sample.labels, ~sample.labels):
            counts = np.bincount(of[among], minlength=patients)
            hits = np.bincount(of[among & right], minlength=patients)
            tables.append((counts.astype(np.float64), hits.astype(np.float64)))
    total = np.stack([counts for counts, _ in tables], 1)
    right_of = np.stack([hits for _, hits in tables], 1)

    def figures(counts: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            shares = np.einsum("bp,pk->bk", counts, right_of) / np.einsum(
                "bp,pk->bk", counts, total
            )
        return np.stack([shares[:, 0::2].mean(1), shares[:, 1::2].mean(1)], 1)

    (value,) = figures(np.ones((1, patients)))
    drawn = resample(
        figures, patients, films=patients, draws=resampling.draws, seed=resampling.seed
    )
    return percentile(float(value[0]), drawn[:, 0]), percentile(float(value[1]), drawn[:, 1])
