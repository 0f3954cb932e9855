-- Screened studies: all that decides whether a study is listed, side by side.
-- Grain: one row a study and finding, of the current checkpoint.
select
    study_predictions.study_instance_uid,
    study_predictions.finding,
    study_predictions.probability,
    study_predictions.sop_instance_uid,
    study_predictions.films,
    coalesce(study_statements.report_status, 'no_report') as report_status,
    known_elsewhere.study_instance_uid is not null as known_elsewhere,
    studies.patient_id,
    studies.issuer_of_patient_id,
    studies.accession_number,
    studies.study_date,
    studies.patient_age_years,
    studies.patient_sex,
    current_checkpoint.model_sha256,
    current_checkpoint.checkpoint_sha256
from study_predictions
inner join current_checkpoint
    on
        study_predictions.model_sha256 = current_checkpoint.model_sha256
        and study_predictions.finding = current_checkpoint.finding
inner join studies
    on study_predictions.study_instance_uid = studies.study_instance_uid
left join study_statements
    on
        study_predictions.study_instance_uid = study_statements.study_instance_uid
        and study_predictions.finding = study_statements.finding
left join known_elsewhere
    on
        study_predictions.study_instance_uid = known_elsewhere.study_instance_uid
        and study_predictions.finding = known_elsewhere.finding
