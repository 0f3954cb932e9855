"""The columns of every kind of part in the results folder.

Field names are DICOM keywords in snake_case wherever DICOM has one. Identifiers live here and
nowhere else: the results folder is the only place that may hold them.
"""

import pyarrow as pa

_TIME = pa.timestamp("us", tz="UTC")


def _schema(*columns: tuple[str, pa.DataType], required: tuple[str, ...] = ()) -> pa.Schema:
    return pa.schema([pa.field(n, t, nullable=n not in required) for n, t in columns])


MANIFEST = _schema(
    # Where the instance lies: the archive's root, and the path below it ("/" as separator), both
    # as written by archive.walk.encode_path: a byte that is not UTF-8 is \xNN, a backslash two.
    ("archive_root", pa.string()),
    ("archive_path", pa.string()),
    ("size_bytes", pa.int64()),
    ("mtime_ns", pa.int64()),
    ("content_fingerprint", pa.string()),
    # A keyed hash of the SOP instance UID, or of the path where there is none: what logs show.
    ("instance_key", pa.string()),
    ("sop_instance_uid", pa.string()),
    ("sop_class_uid", pa.string()),
    ("series_instance_uid", pa.string()),
    ("study_instance_uid", pa.string()),
    ("patient_id", pa.string()),
    ("issuer_of_patient_id", pa.string()),
    ("accession_number", pa.string()),
    ("issuer_of_accession_number", pa.string()),
    ("study_date", pa.date32()),
    ("study_time", pa.string()),
    ("patient_age_years", pa.int32()),
    ("patient_birth_date", pa.date32()),
    ("patient_sex", pa.string()),
    ("modality", pa.string()),
    ("body_part_examined", pa.string()),
    ("anatomic_region", pa.string()),
    ("view_position", pa.string()),
    ("view_code", pa.string()),  # ViewCodeSequence: code value and meaning
    ("study_description", pa.string()),
    ("series_description", pa.string()),
    ("protocol_name", pa.string()),
    ("image_type", pa.list_(pa.string())),
    ("presentation_intent_type", pa.string()),
    ("manufacturer", pa.string()),
    ("manufacturer_model_name", pa.string()),
    ("station_name", pa.string()),
    ("institution_name", pa.string()),
    ("transfer_syntax_uid", pa.string()),
    ("photometric_interpretation", pa.string()),
    ("rows", pa.int32()),
    ("columns", pa.int32()),
    ("number_of_frames", pa.int32()),
    ("bits_allocated", pa.int32()),
    ("bits_stored", pa.int32()),
    # Eligible, or the first reason why not; a header that could not be read has `failure_reason`.
    ("eligible", pa.bool_()),
    ("exclusion_reason", pa.string()),
    ("failure_reason", pa.string()),
    ("eligibility_sha256", pa.string()),
    ("run_id", pa.string()),
    ("scanned_at", _TIME),
    required=("archive_root", "archive_path", "instance_key", "eligible", "run_id", "scanned_at"),
)

PREDICTIONS = _schema(
    ("sop_instance_uid", pa.string()),
    ("study_instance_uid", pa.string()),
    ("finding", pa.string()),
    ("logit", pa.float32()),
    ("raw_probability", pa.float32()),
    ("probability", pa.float32()),
    ("content_fingerprint", pa.string()),
    ("model_sha256", pa.string()),
    ("checkpoint_sha256", pa.string()),
    ("decode_route", pa.string()),
    ("run_id", pa.string()),
    ("screened_at", _TIME),
    required=("sop_instance_uid", "finding", "logit", "model_sha256", "run_id", "screened_at"),
)

FAILURES = _schema(
    ("instance_key", pa.string()),
    ("sop_instance_uid", pa.string()),
    ("content_fingerprint", pa.string()),
    ("model_sha256", pa.string()),
    ("stage", pa.string()),
    ("reason", pa.string()),
    ("transient", pa.bool_()),
    ("message", pa.string()),
    ("transfer_syntax_uid", pa.string()),
    ("run_id", pa.string()),
    ("failed_at", _TIME),
    required=("instance_key", "stage", "reason", "transient", "run_id", "failed_at"),
)

REPORTS = _schema(
    ("report_id", pa.string()),
    ("accession_number", pa.string()),
    ("issuer", pa.string()),
    ("study_instance_uid", pa.string()),
    ("patient_id", pa.string()),
    ("issuer_of_patient_id", pa.string()),
    # A report over several studies names the others here.
    ("also_accession_numbers", pa.list_(pa.string())),
    ("also_study_instance_uids", pa.list_(pa.string())),
    # What the report says of the examination, for sources that name no study.
    ("study_date", pa.date32()),
    ("modality", pa.string()),
    ("author_role", pa.string()),
    ("report_datetime", _TIME),
    ("result_status", pa.string()),  # preliminary, final, addendum, corrected, cancelled or null
    ("replaces", pa.list_(pa.string())),  # report ids that this one takes the place of
    ("source_format", pa.string()),
    ("text", pa.string()),
    ("content_sha256", pa.string()),
    ("run_id", pa.string()),
    ("imported_at", _TIME),
    required=("report_id", "text", "content_sha256", "run_id", "imported_at"),
)

EVIDENCE = pa.struct(
    [
        ("section", pa.string()),
        ("sentence", pa.string()),
        ("start", pa.int32()),  # characters into the report's text, of the mention itself
        ("end", pa.int32()),
        ("rule_id", pa.string()),
        ("assertion", pa.string()),
    ]
)

REPORT_LABELS = _schema(
    ("report_id", pa.string()),
    ("content_sha256", pa.string()),
    ("accession_number", pa.string()),
    ("study_instance_uid", pa.string()),
    ("finding", pa.string()),
    ("report_status", pa.string()),
    ("history", pa.bool_()),
    ("levels", pa.list_(pa.string())),
    ("acuity", pa.string()),
    ("severity", pa.string()),
    ("recommendation", pa.bool_()),
    ("evidence", pa.list_(EVIDENCE)),
    ("lexicon_sha256", pa.string()),
    ("run_id", pa.string()),
    ("labelled_at", _TIME),
    required=("report_id", "content_sha256", "finding", "report_status", "history", "labelled_at"),
)

KNOT = pa.struct([("logit", pa.float64()), ("log_odds", pa.float64())])

CHECKPOINTS = _schema(
    # One row a checkpoint, finding and operating point that a run or a flag has used: what the
    # views need to derive a probability from a logit, without reading the checkpoint.
    ("checkpoint_sha256", pa.string()),
    ("model_sha256", pa.string()),
    ("name", pa.string()),
    ("path", pa.string()),  # where the file was, so that `explain` finds it again
    ("demonstration", pa.bool_()),
    ("finding", pa.string()),
    # See results/calibrations.py; a part of an earlier version has neither method nor knots.
    ("calibration_method", pa.string()),
    ("calibration_slope", pa.float64()),
    ("calibration_intercept", pa.float64()),
    ("calibration_knots", pa.list_(KNOT)),
    ("reference", pa.string()),  # JSON: the films it was calibrated on (model/drift.py)
    ("operating_point", pa.string()),
    ("threshold", pa.float64()),
    ("registered_at", _TIME),
    required=("checkpoint_sha256", "model_sha256", "finding", "registered_at"),
)

FLAGS = _schema(
    # A study's change of state: the latest row a study and finding counts. It holds all that the
    # list shows, as it was when the list was made, so that the list is read from these rows alone
    # whatever the size of the archive, and says later what was shown and why.
    ("study_instance_uid", pa.string()),
    ("finding", pa.string()),
    ("flagged_at", _TIME),
    ("state", pa.string()),  # `flagged` or `unflagged`
    ("reason", pa.string()),  # see sql/flag_changes.sql
    ("threshold", pa.float64()),
    ("probability", pa.float64()),
    ("report_status", pa.string()),
    ("known_elsewhere", pa.bool_()),
    ("sop_instance_uid", pa.string()),  # the film with the highest probability
    ("films", pa.int64()),  # eligible films of the study that were screened
    ("patient_id", pa.string()),
    ("issuer_of_patient_id", pa.string()),
    ("accession_number", pa.string()),
    ("study_date", pa.date32()),
    ("patient_age_years", pa.int32()),
    ("patient_sex", pa.string()),
    ("model_sha256", pa.string()),
    ("checkpoint_sha256", pa.string()),
    ("run_id", pa.string()),
    required=("study_instance_uid", "finding", "flagged_at", "state", "reason"),
)

REVIEWS = _schema(
    ("study_instance_uid", pa.string()),
    ("finding", pa.string()),
    ("decision", pa.string()),  # `confirm`, `reject`, `known` or `refer`
    ("note", pa.string()),
    ("reviewer", pa.string()),
    ("reviewed_at", _TIME),
    # Whose study it is, so that a decision can cover the patient's earlier studies.
    ("patient_id", pa.string()),
    ("issuer_of_patient_id", pa.string()),
    required=("study_instance_uid", "finding", "decision", "reviewer", "reviewed_at"),
)

HEATMAPS = _schema(
    ("sop_instance_uid", pa.string()),
    ("finding", pa.string()),
    ("model_sha256", pa.string()),
    ("film_file", pa.string()),  # below heatmaps/: the film alone, 8 bits, reduced
    ("heatmap_file", pa.string()),  # the same with the Grad-CAM over it
    ("peak_column_px", pa.float64()),  # the maximum, in pixels of the full film
    ("peak_row_px", pa.float64()),
    ("rendered_at", _TIME),
    required=("sop_instance_uid", "finding", "model_sha256", "rendered_at"),
)

SETTINGS = _schema(
    # What the views need of the configuration; a row is added when it changes, the latest counts.
    ("finding", pa.string()),
    ("capacity", pa.int64()),
    ("lookback_before_days", pa.int64()),
    ("lookback_after_days", pa.int64()),
    ("match_by_patient_and_date", pa.bool_()),
    ("run_id", pa.string()),
    ("set_at", _TIME),
    required=("finding", "capacity", "lookback_before_days", "lookback_after_days", "set_at"),
)

AUDITS = _schema(
    # A study drawn for an audit, as it stood then: the estimate goes by these rows alone, whatever
    # reports arrive or models are used later.
    ("audit_id", pa.string()),
    ("finding", pa.string()),
    ("study_instance_uid", pa.string()),
    ("accession_number", pa.string()),
    ("study_date", pa.date32()),
    ("films", pa.int64()),
    ("reading_number", pa.int64()),  # its place in the reading list, which is in random order
    # The stratum: at or above the threshold or below it, and the report status.
    ("above", pa.bool_()),
    ("report_status", pa.string()),
    ("stratum_studies", pa.int64()),
    ("stratum_sampled", pa.int64()),
    ("inclusion_probability", pa.float64()),
    ("probability", pa.float64()),
    ("threshold", pa.float64()),
    ("model_sha256", pa.string()),
    ("checkpoint_sha256", pa.string()),
    # How it was drawn: the same seed draws the same studies from the same strata.
    ("allocation", pa.string()),
    ("seed", pa.int64()),
    ("since", pa.date32()),
    ("until", pa.date32()),
    ("drawn_at", _TIME),
    required=(
        "audit_id", "finding", "study_instance_uid", "reading_number", "above", "report_status",
        "stratum_studies", "stratum_sampled", "inclusion_probability", "threshold", "seed",
        "drawn_at",
    ),
)  # fmt: skip

AUDIT_READINGS = _schema(
    # What a reader saw on a drawn study; a reader's latest row counts, the others are kept.
    ("audit_id", pa.string()),
    ("study_instance_uid", pa.string()),
    ("reader", pa.string()),
    ("reading", pa.string()),  # `yes`, `no` or `unclear`
    ("levels", pa.list_(pa.string())),
    ("grade", pa.int32()),  # the highest, after Genant: 1 to 3
    ("note", pa.string()),
    ("imported_at", _TIME),
    required=("audit_id", "study_instance_uid", "reader", "reading", "imported_at"),
)

FOLDERS: dict[str, pa.Schema] = {
    "manifest": MANIFEST,
    "predictions": PREDICTIONS,
    "failures": FAILURES,
    "reports": REPORTS,
    "report_labels": REPORT_LABELS,
    "checkpoints": CHECKPOINTS,
    "flags": FLAGS,
    "reviews": REVIEWS,
    "heatmaps": HEATMAPS,
    "settings": SETTINGS,
    "audits": AUDITS,
    "audit_readings": AUDIT_READINGS,
}
"""Folder of the results folder -> schema of its parts."""
