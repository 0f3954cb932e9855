-- Reports: each as it stands now.
-- Grain: one row a report id: its latest version, by the report's own time, then by import, then
-- by how final it is. A report whose latest version is cancelled is gone.
-- Caveat: `parts.reports` holds all versions. Empty keys are NULL here, so they match nothing.
-- Only reports with several versions are sorted; they are found by a hash (see manifest.sql).
with repeated as (
    select hash(report_id) as id_hash
    from parts.reports
    group by id_hash
    having count(*) > 1
),

latest as (
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

standing as (
    select written.*
    from parts.reports as written
    anti join repeated on hash(written.report_id) = repeated.id_hash
    union all
    select * from latest
)

select
    * replace (
        nullif(trim(accession_number), '') as accession_number,
        nullif(trim(issuer), '') as issuer,
        nullif(trim(study_instance_uid), '') as study_instance_uid,
        nullif(trim(patient_id), '') as patient_id,
        lower(nullif(trim(result_status), '')) as result_status
    )
from standing
where lower(trim(result_status)) is distinct from 'cancelled'
