-- Study reports: which report belongs to which study.
-- Grain: one row a study and report; a report over several studies has several rows.
-- By study instance UID where the report names one that is in the archive, else by accession number
-- within its issuer. Where either side names no issuer, the accession number counts only if a
-- single study has it. The further studies that a report names are found in the same way; an
-- accession number of a study that was found by its UID is not looked for again.
-- A report that names no study at all is the one's that the patient had on its day with its
-- modality, if settings.sql has this switched on and there is exactly one, screened or not; where
-- either side names no issuer of the patient id, only if a single patient of the archive has it.
-- A study of nothing but structured reports is none: these are matched to what they are about.
-- Empty keys match nothing. What matches nothing is in unmatched_reports.sql.
with known_studies as materialized (
    select
        study_instance_uid,
        accession_number,
        issuer_of_accession_number as issuer,
        patient_id,
        coalesce(issuer_of_patient_id, '') as patient_issuer,
        study_date
    from studies
    where not only_reports
),

keys as materialized (
    select
        report_id,
        study_instance_uid,
        accession_number,
        issuer,
        patient_id,
        coalesce(issuer_of_patient_id, '') as patient_issuer,
        study_date,
        modality,
        also_study_instance_uids,
        also_accession_numbers
    from reports
),

-- Reports over several studies: all that they name by UID, the first as well.
several as materialized (
    select *
    from keys
    where len(also_study_instance_uids) > 0 or len(also_accession_numbers) > 0
),

several_uids as (
    select distinct
        report_id,
        trim(
            unnest(list_append(coalesce(also_study_instance_uids, []), study_instance_uid))
        ) as study_instance_uid
    from several
),

several_by_uid as materialized (
    select
        known_studies.study_instance_uid,
        several_uids.report_id,
        known_studies.accession_number
    from several_uids
    inner join known_studies on several_uids.study_instance_uid = known_studies.study_instance_uid
),

by_uid as (
    select
        known_studies.study_instance_uid,
        keys.report_id
    from keys
    inner join known_studies on keys.study_instance_uid = known_studies.study_instance_uid
    where
        coalesce(len(keys.also_study_instance_uids), 0) = 0
        and coalesce(len(keys.also_accession_numbers), 0) = 0
    union all
    select
        study_instance_uid,
        report_id
    from several_by_uid
),

also_accessions as (
    select distinct
        report_id,
        issuer,
        accession_number as first_accession_number,
        trim(unnest(also_accession_numbers)) as accession_number
    from several
),

named_accessions as (
    select
        keys.report_id,
        keys.accession_number,
        keys.issuer
    from keys
    anti join known_studies on keys.study_instance_uid = known_studies.study_instance_uid
    where keys.accession_number is not null
    union all
    select
        report_id,
        accession_number,
        issuer
    from also_accessions
    where
        accession_number <> ''
        and (accession_number is distinct from first_accession_number)
),

sought as materialized (
    select named_accessions.*
    from named_accessions
    anti join several_by_uid
        on
            named_accessions.report_id = several_by_uid.report_id
            and named_accessions.accession_number = several_by_uid.accession_number
),

by_issuer as (
    select
        known_studies.study_instance_uid,
        sought.report_id
    from sought
    inner join known_studies
        on
            sought.accession_number = known_studies.accession_number
            and sought.issuer = known_studies.issuer
),

-- Accession numbers that somebody gives without an issuer.
unsure as (
    select accession_number from sought
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
        sought.report_id
    from sought
    inner join single_studies on sought.accession_number = single_studies.accession_number
    where sought.issuer is null or single_studies.issuer is null
),

by_accession as (
    select * from by_issuer
    union all
    select * from without_issuer
),

nameless as materialized (
    select
        keys.report_id,
        keys.patient_id,
        keys.patient_issuer,
        keys.study_date,
        keys.modality
    from keys
    cross join settings
    where
        settings.match_by_patient_and_date
        and keys.study_instance_uid is null
        and keys.accession_number is null
        and coalesce(len(keys.also_study_instance_uids), 0) = 0
        and coalesce(len(keys.also_accession_numbers), 0) = 0
        and keys.patient_id is not null
        and keys.study_date is not null
        and keys.modality is not null
),

patients as (
    select
        known_studies.patient_id,
        list_distinct(list(known_studies.patient_issuer)) as issuers
    from known_studies
    semi join nameless on known_studies.patient_id = nameless.patient_id
    group by known_studies.patient_id
),

-- Studies of the patient on the day. One without an issuer may be anybody's of that id, so it
-- makes a second one ambiguous.
same_day as materialized (
    select
        nameless.report_id,
        nameless.modality,
        known_studies.study_instance_uid,
        known_studies.patient_issuer = nameless.patient_issuer
        or len(patients.issuers) = 1 as same_patient
    from nameless
    inner join patients on nameless.patient_id = patients.patient_id
    inner join known_studies
        on
            nameless.patient_id = known_studies.patient_id
            and nameless.study_date = known_studies.study_date
    where
        nameless.patient_issuer = known_studies.patient_issuer
        or nameless.patient_issuer = ''
        or known_studies.patient_issuer = ''
),

modalities as (
    select distinct
        same_day.study_instance_uid,
        upper(nullif(trim(written.modality), '')) as modality
    from parts.manifest as written
    inner join same_day
        on
            coalesce(nullif(written.study_instance_uid, ''), written.sop_instance_uid)
            = same_day.study_instance_uid
),

by_patient_and_date as (
    select
        any_value(same_day.study_instance_uid) as study_instance_uid,
        same_day.report_id
    from same_day
    inner join modalities
        on
            same_day.study_instance_uid = modalities.study_instance_uid
            and same_day.modality = coalesce(modalities.modality, same_day.modality)
    group by same_day.report_id
    having count(distinct same_day.study_instance_uid) = 1 and bool_and(same_day.same_patient)
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
anti join several_by_uid
    on
        by_accession.report_id = several_by_uid.report_id
        and by_accession.study_instance_uid = several_by_uid.study_instance_uid
union all
select
    study_instance_uid,
    report_id,
    'patient_and_date' as matched_by
from by_patient_and_date
