-- Known elsewhere: the patient's fracture is on record already, if not in this study's report.
-- Grain: one row a study and finding of which it is true; `known_by` says how:
--   history  the history section of the study's own report names it;
--   report   another report of the same patient, within the look-back of settings.sql (5 years
--            before to 1 year after the study), reports it or names it in its history;
--   review   somebody decided `confirm` or `known` on a study of this patient.
-- Caveat: a report without a film in the archive (of a CT, say) is the patient's by patient id and
-- issuer; where either side names no issuer, only if a single patient of the archive has that id.
-- The issuer of a report's accession number stands in for that of its patient where it names none.
-- A study or report without a date is never within the look-back.
with known_studies as materialized (
    select
        study_instance_uid,
        study_date,
        patient_id,
        coalesce(issuer_of_patient_id, '') as issuer
    from studies
),

saying as materialized (
    select
        report_labels.report_id,
        report_labels.finding,
        report_labels.history,
        reports.patient_id,
        coalesce(reports.issuer_of_patient_id, reports.issuer, '') as issuer,
        reports.report_datetime::date as report_date
    from report_labels
    inner join reports on report_labels.report_id = reports.report_id
    where report_labels.report_status = 'reported' or report_labels.history
),

matched as materialized (
    select study_reports.*
    from study_reports
    semi join saying on study_reports.report_id = saying.report_id
),

-- The patient of a report is that of its study; failing that, the one that it names.
by_study as (
    select
        saying.report_id,
        saying.finding,
        known_studies.patient_id,
        known_studies.issuer,
        coalesce(saying.report_date, known_studies.study_date) as report_date
    from saying
    inner join matched on saying.report_id = matched.report_id
    inner join known_studies on matched.study_instance_uid = known_studies.study_instance_uid
    where known_studies.patient_id is not null
),

patients as (
    select
        known_studies.patient_id,
        list_distinct(list(known_studies.issuer)) as issuers
    from known_studies
    semi join saying on known_studies.patient_id = saying.patient_id
    group by known_studies.patient_id
),

by_name as (
    select
        saying.report_id,
        saying.finding,
        saying.patient_id,
        case
            when list_contains(patients.issuers, saying.issuer) then saying.issuer
            else patients.issuers[1]
        end as issuer,
        saying.report_date
    from saying
    inner join patients on saying.patient_id = patients.patient_id
    anti join matched on saying.report_id = matched.report_id
    where
        (saying.issuer <> '' and list_contains(patients.issuers, saying.issuer))
        or (
            len(patients.issuers) = 1
            and (saying.issuer = '' or patients.issuers[1] = '')
        )
),

patient_reports as (
    select * from by_study
    union
    select * from by_name
),

known as (
    select
        matched.study_instance_uid,
        saying.finding,
        'history' as known_by
    from matched
    inner join saying on matched.report_id = saying.report_id
    where saying.history
    union
    select
        known_studies.study_instance_uid,
        patient_reports.finding,
        'report' as known_by
    from patient_reports
    inner join known_studies
        on
            patient_reports.patient_id = known_studies.patient_id
            and patient_reports.issuer = known_studies.issuer
    cross join settings
    anti join matched
        on
            patient_reports.report_id = matched.report_id
            and known_studies.study_instance_uid = matched.study_instance_uid
    where
        patient_reports.report_date - known_studies.study_date
        between -settings.lookback_before_days and settings.lookback_after_days
    union
    select
        known_studies.study_instance_uid,
        reviews.finding,
        'review' as known_by
    from parts.reviews as reviews
    inner join known_studies
        on
            reviews.patient_id = known_studies.patient_id
            and coalesce(reviews.issuer_of_patient_id, '') = known_studies.issuer
    where reviews.decision in ('confirm', 'known')
)

select
    study_instance_uid,
    finding,
    list_sort(list(known_by)) as known_by
from known
group by study_instance_uid, finding
