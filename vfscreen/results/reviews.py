"""What people decided about studies: appended, never changed."""

from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from vfscreen.errors import UsageError
from vfscreen.results.catalogue import connect, publish
from vfscreen.results.folder import Results
from vfscreen.results.parts import write_part
from vfscreen.results.schemas import REVIEWS
from vfscreen.results.sql import ask, fetch

DECISIONS = ("confirm", "reject", "known", "refer")


def find_study(connection: duckdb.DuckDBPyConnection, key: str) -> str:
    """The study instance UID of the one study with this accession number or study UID.

    A study that was flagged goes before others with the same accession number.

    Raises
    ------
    UsageError
        No study, or more than one, has this key. The message does not repeat it.
    """
    found = ask(connection, "find_study", key=key.strip())["study_instance_uid"].to_pylist()
    if len(found) > 1:
        raise UsageError(
            "This accession number belongs to more than one study: give the study instance UID "
            "instead (`vfscreen flagged --format json` shows it)."
        )
    if found:
        return str(found[0])
    raise UsageError("No study in the results folder has this accession number or study UID.")


def append_review(
    results: Results, study_uid: str, finding: str, decision: str, note: str, reviewer: str
) -> None:
    """Record a decision and make it count at once; works while a run is under way.

    Raises
    ------
    UsageError
        The decision is none of `DECISIONS`, or nobody is named as its author.
    StorageError
        It cannot be written.
    """
    if decision not in DECISIONS:
        raise UsageError(f"A decision is one of {', '.join(DECISIONS)}.")
    if not reviewer.strip():
        raise UsageError("A decision needs the name of who decided.")
    with connect(results) as connection:
        known = fetch(
            connection,
            "select patient_id, issuer_of_patient_id from studies where study_instance_uid = $uid",
            {"uid": study_uid},
        ).to_pylist()
    patient = known[0] if known else {"patient_id": None, "issuer_of_patient_id": None}
    row = {
        "study_instance_uid": study_uid,
        "finding": finding,
        "decision": decision,
        "note": note,
        "reviewer": reviewer.strip(),
        "reviewed_at": datetime.now(UTC),
        **patient,
    }
    write_part(results, "reviews", pa.Table.from_pylist([row], schema=REVIEWS))
    publish(results)
