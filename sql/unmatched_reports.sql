-- Unmatched reports: those that count for no study of the archive, and why.
-- Grain: one row a report as it stands now that study_reports.sql knows no study of.
-- Reasons: `no_key`: it names no study, and not all of patient, day and modality;
--   `patient_and_date_off`: it names those three, but settings.sql has them switched off;
--   `patient_and_date_not_in_archive`: the patient has no study of that day there;
--   `patient_and_date_uncertain`: several, none of that modality, or the id may be another's;
--   `study_not_in_archive`: neither study UID nor accession number is there;
--   `accession_of_another_issuer`: the accession number is there, but of another issuer only;
--   `accession_ambiguous`: one side names no issuer, and several studies have the number.
-- Caveat: `study_not_in_archive` is usual where reports of all examinations are imported; they
-- still count for the look-back (known_elsewhere.sql).
with unmatched as materialized (
    select
        reports.report_id,
        reports.source_format,
        reports.result_status,
        reports.report_datetime,
        reports.accession_number,
        reports.issuer,
        reports.study_instance_uid,
        reports.patient_id,
        reports.issuer_of_patient_id,
        reports.study_date,
        reports.modality,
        reports.imported_at,
        reports.also_accession_numbers,
        reports.study_instance_uid is not null
        or reports.accession_number is not null
        or coalesce(len(reports.also_study_instance_uids), 0) > 0
        or coalesce(len(reports.also_accession_numbers), 0) > 0 as names_study
    from reports
    anti join study_reports on reports.report_id = study_reports.report_id
),

numbers as (
    select
        report_id,
        issuer,
        accession_number
    from unmatched
    where accession_number is not null
    union all
    select
        report_id,
        issuer,
        trim(unnest(also_accession_numbers)) as accession_number
    from unmatched
    where len(also_accession_numbers) > 0
),

-- Of its accession numbers, those that some study has; unsure where an issuer is missing.
there as (
    select
        numbers.report_id,
        bool_or(
            numbers.issuer is null or studies.issuer_of_accession_number is null
        ) as issuer_missing
    from numbers
    inner join studies on numbers.accession_number = studies.accession_number
    where not studies.only_reports
    group by numbers.report_id
),

same_day as (
    select distinct unmatched.report_id
    from unmatched
    inner join studies
        on
            unmatched.patient_id = studies.patient_id
            and unmatched.study_date = studies.study_date
    where not unmatched.names_study and not studies.only_reports
)

select
    unmatched.report_id,
    case
        when there.issuer_missing then 'accession_ambiguous'
        when there.report_id is not null then 'accession_of_another_issuer'
        when unmatched.names_study then 'study_not_in_archive'
        when
            unmatched.patient_id is null
            or unmatched.study_date is null
            or unmatched.modality is null
            then 'no_key'
        when not settings.match_by_patient_and_date then 'patient_and_date_off'
        when same_day.report_id is null then 'patient_and_date_not_in_archive'
        else 'patient_and_date_uncertain'
    end as reason,
    unmatched.source_format,
    unmatched.result_status,
    unmatched.report_datetime,
    unmatched.accession_number,
    unmatched.issuer,
    unmatched.study_instance_uid,
    unmatched.patient_id,
    unmatched.issuer_of_patient_id,
    unmatched.study_date,
    unmatched.modality,
    unmatched.imported_at
from unmatched
cross join settings
left join there on unmatched.report_id = there.report_id
left join same_day on unmatched.report_id = same_day.report_id
