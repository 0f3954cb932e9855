"""Join a file of labels with the films of an archive: what training and evaluation start from."""

import csv
import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vfscreen.archive.walk import archive_root
from vfscreen.config import Config
from vfscreen.errors import LabelsError, StorageError
from vfscreen.jobs.films import PlannedFilms
from vfscreen.jobs.label_tables import LabelTable, read_labels
from vfscreen.jobs.run import Run
from vfscreen.privacy import patient_key
from vfscreen.reports.statuses import pairs
from vfscreen.results.catalogue import connect
from vfscreen.results.labels import match_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger("vfscreen")

PLAN_COLUMNS = (
    "archive_root", "archive_path", "size_bytes", "instance_key", "sop_instance_uid",
    "study_instance_uid", "content_fingerprint", "transfer_syntax_uid", "rows", "columns",
)  # fmt: skip
"""What `PlannedFilms` needs of a film."""
FILM_COLUMNS = (
    *PLAN_COLUMNS, "patient_key", "study_key", "patient_sex", "patient_age_years",
    "manufacturer", "view_position", "study_date",
)  # fmt: skip
"""The columns of `Labelled.films` before the findings'."""


@dataclass(frozen=True, slots=True)
class LabelProblems:
    """Rows of a file that are not used.

    Attributes
    ----------
    total, used : int
        Rows of the file below its header, and those that say something new of an eligible film.
    rows : pa.Table
        `line` (of the file) and `reason`, one row a row that is not used, in the file's order.
    """

    total: int
    used: int
    rows: pa.Table

    @property
    def counts(self) -> dict[str, int]:
        """Rows by reason, the most frequent first."""
        counted = pc.value_counts(self.rows["reason"]).to_pylist()
        counted.sort(key=lambda one: (-one["counts"], one["values"]))
        return {one["values"]: one["counts"] for one in counted}


@dataclass(frozen=True, slots=True)
class Labelled:
    """The eligible films of an archive that a labels file says something of.

    Attributes
    ----------
    key : str
        The column that named the films.
    findings : tuple of str
        What is labelled.
    films : pa.Table
        One row a film, newest study first: `FILM_COLUMNS`, and an int8 column a finding, named as
        it (1, 0, or null: unknown). `patient_key` and `study_key` are keyed hashes.
    problems : LabelProblems
        What of the file is not used, and why.
    labels_sha256 : str
        Of the file.
    archive_files : dict
        Of `scan_and_label`: what the scan found, by state: `eligible`, an exclusion reason, or the
        reason why a header (or folder) could not be read.
    """

    key: str
    findings: tuple[str, ...]
    films: pa.Table
    problems: LabelProblems
    labels_sha256: str
    archive_files: dict[str, int] = field(default_factory=dict)

    def planned(self) -> PlannedFilms:
        """The films in their order, to be decoded."""
        return PlannedFilms(self.films.select(list(PLAN_COLUMNS)))

    def targets(self) -> "NDArray[np.float32]":
        """(N, findings) 1, 0, or NaN where a finding is unknown."""
        columns = [
            pc.fill_null(self.films[name].cast(pa.float32()), float("nan"))
            for name in self.findings
        ]
        return np.stack([np.asarray(column) for column in columns], axis=1)


def label_films(
    run: Run,
    archive: Path,
    labels_path: Path,
    config: Config,
    *,
    findings: tuple[str, ...] | None = None,
    problems_path: Path | None = None,
) -> Labelled:
    """Join a labels file with the archive's manifest, which a scan has brought up to date.

    Each row of the file is used, or is among the problems with one reason; rows that contradict
    each other are not used for the finding in question. docs/labels.md has the rules.

    Parameters
    ----------
    findings
        The columns that count; None: every column that is neither a key nor the issuer.
    problems_path
        Where to list the rows that are not used, also if that is all of them.

    Raises
    ------
    LabelsError
        The file cannot be understood, no row is about an eligible film, or a finding is positive
        in none of the films that it is known of, or in all.
    ConfigError
        `reports.issuers` cannot be understood.
    """
    table = _with_issuers(read_labels(labels_path, findings, set(FILM_COLUMNS)), config)
    with run.timed("label"), connect(run.results) as catalogue:
        matched = match_labels(
            catalogue, table.key, table.rows, table.values, [archive_root(archive)]
        )
        films = _films(run, matched.films, matched.values, table.findings)
    unused = matched.rows.filter(pc.is_valid(matched.rows["reason"]))
    total = table.rows.num_rows
    problems = LabelProblems(total, total - unused.num_rows, unused)
    log.info(
        "labels: %d rows by %s, %d used, %d films", total, table.key, problems.used, films.num_rows
    )
    for reason, count in problems.counts.items():
        log.warning("labels: rows not used, %s: %d", reason, count)
    if problems_path is not None:
        write_problems(problems, problems_path)
    labelled = Labelled(table.key, table.findings, films, problems, table.sha256)
    refuse_useless(labels_path, labelled)
    return labelled


def write_problems(problems: LabelProblems, path: Path) -> None:
    """Write the rows that are not used as CSV: `line`, `reason`; nothing else of the file.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(problems.rows.column_names)
            for batch in problems.rows.to_batches():
                writer.writerows(zip(*(c.to_pylist() for c in batch.columns), strict=True))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}.") from None


def _with_issuers(table: LabelTable, config: Config) -> LabelTable:
    """Issuers as the films spell them, by the same words as those of reports."""
    spelt = pairs("issuers", config.reports.issuers)
    issuer = table.rows["issuer"]
    for theirs, ours in spelt.items():
        said = pc.fill_null(pc.equal(table.rows["issuer"], theirs), False)
        issuer = pc.if_else(said, pa.scalar(ours or None, pa.string()), issuer)
    return replace(table, rows=table.rows.set_column(2, "issuer", issuer))


def _films(run: Run, films: pa.Table, values: pa.Table, findings: tuple[str, ...]) -> pa.Table:
    """The films with hashes instead of patients, and a column a finding."""
    study_uids = films["study_instance_uid"].to_pylist()
    issuers, ids = (films[n].to_pylist() for n in ("issuer_of_patient_id", "patient_id"))
    patients = list(zip(issuers, ids, study_uids, strict=True))
    # Most patients and studies have several films: each is hashed once.
    patient_keys = {patient: patient_key(run.key, *patient) for patient in set(patients)}
    study_keys = {uid: run.hash(uid) for uid in set(study_uids)}
    hashes = {
        "patient_key": [patient_keys[patient] for patient in patients],
        "study_key": [study_keys[uid] for uid in study_uids],
    }
    for name, column in hashes.items():
        films = films.append_column(name, pa.array(column, pa.string()))
    unit = films["unit"]
    films = films.select(list(FILM_COLUMNS))
    for number, finding in enumerate(findings):
        said = values.filter(pc.equal(values["finding"], number))
        at = pc.index_in(unit, value_set=said["unit"].combine_chunks())
        films = films.append_column(finding, said["value"].take(at).cast(pa.int8()))
    return films


def refuse_useless(path: Path, labelled: Labelled) -> None:
    """Refuse a set in which there is nothing to tell apart; `path` is the labels file.

    Raises
    ------
    LabelsError
        There is no film, or a finding is positive in none of the films it is known of, or in all.
    """
    if not labelled.films.num_rows:
        why = ", ".join(f"{n:,} {reason}" for reason, n in labelled.problems.counts.items())
        raise LabelsError(
            f"None of the {labelled.problems.total:,} rows of {path} can be used with this archive"
            f"{f' ({why})' if why else ''}. They name films by {labelled.key}: is it the right "
            "archive?"
        )
    for finding in labelled.findings:
        column = labelled.films[finding]
        known, positive = len(column) - column.null_count, pc.sum(column).as_py() or 0
        if not 0 < positive < known:
            what = "negative" if positive else "positive"
            raise LabelsError(
                f"{path}: of {known:,} films labelled for `{finding}` none is {what}: there is "
                "nothing to tell apart."
            )
