-- Known elsewhere: the patient's fracture is on record already, if not in this study's report.
-- Grain: one row a study and finding of which it is true; `known_by` says how:
--   history  the history section of the study's own report names it;
--   report   another report of the same patient, within the look-back of settings.sql (5 years
--            before to 1 year after the study), reports it or names it in its history;
--   review   somebody decided `confirm` or `known` on a study of this patient.
-- Caveat: a report without a film in the archive (of a CT, say) is the patient's by patient id and
-- issuer; where either side names no issuer, only if a single patient of the archive has that id.
-- A study or report without a date is never within the look-back.
with patients as (
    select distinct
        patient_id,
        issuer_of_patient_id
    from studies
    where patient_id is not null
),

patients_with as (
    select
        patient_id,
        count(*) as patients
    from patients
    group by patient_id
),

saying as (
    select
        report_labels.report_id,
        report_labels.finding,
        reports.patient_id,
        reports.issuer,
        reports.report_datetime::date as report_date
    from report_labels
    inner join reports on report_labels.report_id = reports.report_id
    where report_labels.report_status = 'reported' or report_labels.history
),

-- The patient of a report is that of its study; failing that, the one that it names.
by_study as (
    select
        saying.report_id,
        saying.finding,
        studies.patient_id,
        studies.issuer_of_patient_id,
        coalesce(saying.report_date, studies.study_date) as report_date
    from saying
    inner join study_reports on saying.report_id = study_reports.report_id
    inner join studies on study_reports.study_instance_uid = studies.study_instance_uid
    where studies.patient_id is not null
),

by_name as (
    select
        saying.report_id,
        saying.finding,
        patients.patient_id,
        patients.issuer_of_patient_id,
        saying.report_date
    from saying
    inner join patients on saying.patient_id = patients.patient_id
    inner join patients_with on saying.patient_id = patients_with.patient_id
    anti join study_reports on saying.report_id = study_reports.report_id
    where
        saying.issuer = patients.issuer_of_patient_id
        or (
            (saying.issuer is null or patients.issuer_of_patient_id is null)
            and patients_with.patients = 1
        )
),

patient_reports as (
    select * from by_study
    union all
    select * from by_name
),

known as (
    select
        study_instance_uid,
        finding,
        'history' as known_by
    from study_report_status
    where history
    union
    select
        studies.study_instance_uid,
        patient_reports.finding,
        'report' as known_by
    from patient_reports
    inner join studies
        on
            patient_reports.patient_id = studies.patient_id
            and coalesce(patient_reports.issuer_of_patient_id, '')
            = coalesce(studies.issuer_of_patient_id, '')
    cross join settings
    anti join study_reports
        on
            patient_reports.report_id = study_reports.report_id
            and studies.study_instance_uid = study_reports.study_instance_uid
    where
        patient_reports.report_date - studies.study_date
        between -settings.lookback_before_days and settings.lookback_after_days
    union
    select
        studies.study_instance_uid,
        reviews.finding,
        'review' as known_by
    from parts.reviews as reviews
    inner join studies
        on
            reviews.study_instance_uid = studies.study_instance_uid
            or (
                reviews.patient_id = studies.patient_id
                and coalesce(reviews.issuer_of_patient_id, '')
                = coalesce(studies.issuer_of_patient_id, '')
            )
    where reviews.decision in ('confirm', 'known')
)

select
    study_instance_uid,
    finding,
    list_sort(list(known_by)) as known_by
from known
group by study_instance_uid, finding
