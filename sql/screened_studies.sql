-- Screened studies: all that decides whether a study is listed, side by side.
-- Grain: one row a study and finding, of the current checkpoint.
select
    study_findings.study_instance_uid,
    study_findings.finding,
    study_findings.probability,
    study_findings.sop_instance_uid,
    study_findings.films,
    study_findings.report_status,
    known_elsewhere.study_instance_uid is not null as known_elsewhere,
    studies.patient_id,
    studies.issuer_of_patient_id,
    studies.accession_number,
    studies.study_date,
    studies.patient_age_years,
    studies.patient_sex,
    study_findings.model_sha256,
    study_findings.checkpoint_sha256
from study_findings
inner join studies
    on study_findings.study_instance_uid = studies.study_instance_uid
left join known_elsewhere
    on
        study_findings.study_instance_uid = known_elsewhere.study_instance_uid
        and study_findings.finding = known_elsewhere.finding
