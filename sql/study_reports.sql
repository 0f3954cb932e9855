-- Study reports: which report belongs to which study.
-- Grain: one row a study and report; a report over several studies has several rows.
-- By study instance UID where the report names one that is in the archive, else by accession number
-- within its issuer. Where either side names no issuer, the accession number counts only if a
-- single study has it. Empty keys match nothing.
with known_studies as materialized (
    select
        study_instance_uid,
        accession_number,
        issuer_of_accession_number as issuer
    from studies
),

keys as materialized (
    select
        report_id,
        study_instance_uid,
        accession_number,
        issuer
    from reports
),

by_uid as (
    select
        known_studies.study_instance_uid,
        keys.report_id
    from keys
    inner join known_studies on keys.study_instance_uid = known_studies.study_instance_uid
),

by_issuer as (
    select
        known_studies.study_instance_uid,
        keys.report_id
    from keys
    inner join known_studies
        on
            keys.accession_number = known_studies.accession_number
            and keys.issuer = known_studies.issuer
),

-- Accession numbers that somebody gives without an issuer.
unsure as (
    select accession_number from keys
    where issuer is null
    union
    select accession_number from known_studies
    where issuer is null
),

single_studies as (
    select
        known_studies.accession_number,
        any_value(known_studies.study_instance_uid) as study_instance_uid,
        any_value(known_studies.issuer) as issuer
    from known_studies
    semi join unsure on known_studies.accession_number = unsure.accession_number
    group by known_studies.accession_number
    having count(*) = 1
),

without_issuer as (
    select
        single_studies.study_instance_uid,
        keys.report_id
    from keys
    inner join single_studies on keys.accession_number = single_studies.accession_number
    where keys.issuer is null or single_studies.issuer is null
),

by_accession as (
    select * from by_issuer
    union all
    select * from without_issuer
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
