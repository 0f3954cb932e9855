-- Reports: each as it stands now.
-- Grain: one row a report id: its latest version, by the report's own time, then by import, then
-- by how final it is.
-- Gone: a report whose latest version is cancelled; and one that a standing report names among
-- those it `replaces`, or that one of these replaced before. A replacement that was cancelled
-- replaces nothing. Reports that replace each other in a circle all stand: who is right cannot
-- be told.
-- Caveat: `parts.reports` holds all versions. Empty keys are NULL here, so they match nothing.
-- Only reports that have several versions or replace others are sorted; they are found by a hash
-- (see manifest.sql).
with recursive repeated as (
    select hash(report_id) as id_hash
    from parts.reports
    group by id_hash
    having count(*) > 1
    union all
    select hash(report_id) as id_hash
    from parts.reports
    where len(replaces) > 0
),

latest as not materialized (
    select written.*
    from parts.reports as written
    semi join repeated on hash(written.report_id) = repeated.id_hash
    qualify
        row_number() over (
            partition by written.report_id
            order by
                written.report_datetime desc nulls last,
                written.imported_at desc,
                list_position(
                    ['preliminary', 'final', 'addendum', 'corrected', 'cancelled'],
                    lower(trim(written.result_status))
                ) desc nulls last,
                written.content_sha256 asc
        ) = 1
),

named as (
    select
        report_id,
        trim(unnest(replaces)) as replaced
    from latest
    where len(replaces) > 0 and lower(trim(result_status)) is distinct from 'cancelled'
),

replacements as materialized (
    select distinct
        report_id,
        replaced
    from named
    where replaced <> report_id
),

gone as (
    -- From those that nothing replaces, down what they replaced: a circle has no such beginning.
    select replacements.replaced as report_id
    from replacements
    anti join replacements as others on replacements.report_id = others.replaced
    union
    select replacements.replaced as report_id
    from gone
    inner join replacements on gone.report_id = replacements.report_id
),

standing as (
    select written.*
    from parts.reports as written
    anti join repeated on hash(written.report_id) = repeated.id_hash
    union all
    select * from latest
),

counting as (
    select standing.*
    from standing
    anti join gone on standing.report_id = gone.report_id
    where lower(trim(standing.result_status)) is distinct from 'cancelled'
)

select
    * replace (
        nullif(trim(accession_number), '') as accession_number,
        nullif(trim(issuer), '') as issuer,
        nullif(trim(study_instance_uid), '') as study_instance_uid,
        nullif(trim(patient_id), '') as patient_id,
        nullif(trim(issuer_of_patient_id), '') as issuer_of_patient_id,
        upper(nullif(trim(modality), '')) as modality,
        lower(nullif(trim(author_role), '')) as author_role,
        lower(nullif(trim(result_status), '')) as result_status
    )
from counting
