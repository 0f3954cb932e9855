-- Study reports: which report belongs to which study.
-- Grain: one row a study and report; a report over several studies has several rows.
-- By study instance UID where the report names one that is in the archive, else by accession number
-- within its issuer. Where either side names no issuer, the accession number counts only if a
-- single study has it. Empty keys match nothing.
with by_uid as (
    select
        studies.study_instance_uid,
        reports.report_id
    from reports
    inner join studies on reports.study_instance_uid = studies.study_instance_uid
),

accessions as (
    select distinct
        accession_number,
        issuer_of_accession_number as issuer,
        study_instance_uid
    from instances
    where accession_number is not null
),

studies_with as (
    select
        accession_number,
        count(distinct study_instance_uid) as studies
    from accessions
    group by accession_number
),

by_accession as (
    select distinct
        accessions.study_instance_uid,
        reports.report_id
    from reports
    inner join accessions on reports.accession_number = accessions.accession_number
    inner join studies_with on reports.accession_number = studies_with.accession_number
    where
        (reports.issuer = accessions.issuer)
        or (
            (reports.issuer is null or accessions.issuer is null)
            and studies_with.studies = 1
        )
)

select
    study_instance_uid,
    report_id,
    'study_instance_uid' as matched_by
from by_uid
union all
select
    by_accession.study_instance_uid,
    by_accession.report_id,
    'accession_number' as matched_by
from by_accession
anti join by_uid on by_accession.report_id = by_uid.report_id
