-- Study findings: what the films and the reports of a study say of the finding, side by side.
-- Grain: one row a study and finding, of the current checkpoint.
-- Caveat: all that can be counted of a study, but not what is known of the patient elsewhere,
-- which screened_studies.sql adds at the price of a look at all of the patient's reports.
select
    study_predictions.study_instance_uid,
    study_predictions.finding,
    study_predictions.probability,
    study_predictions.sop_instance_uid,
    study_predictions.films,
    coalesce(study_statements.report_status, 'no_report') as report_status,
    coalesce(study_statements.report_ids, []) as report_ids,
    current_checkpoint.model_sha256,
    current_checkpoint.checkpoint_sha256
from study_predictions
inner join current_checkpoint
    on
        study_predictions.model_sha256 = current_checkpoint.model_sha256
        and study_predictions.finding = current_checkpoint.finding
left join study_statements
    on
        study_predictions.study_instance_uid = study_statements.study_instance_uid
        and study_predictions.finding = study_statements.finding
