-- Reports: each as it stands now.
-- Grain: one row a report id: its latest version, by the report's own time, then by import, then
-- by how final it is. A report whose latest version is cancelled is gone.
-- Caveat: `parts.reports` holds all versions. Empty keys are NULL here, so they match nothing.
with ranked as (
    select
        * replace (
            nullif(trim(accession_number), '') as accession_number,
            nullif(trim(issuer), '') as issuer,
            nullif(trim(study_instance_uid), '') as study_instance_uid,
            nullif(trim(patient_id), '') as patient_id,
            lower(nullif(trim(result_status), '')) as result_status
        )
    from parts.reports
    qualify
        row_number() over (
            partition by report_id
            order by
                report_datetime desc nulls last,
                imported_at desc,
                list_position(
                    ['preliminary', 'final', 'addendum', 'corrected', 'cancelled'],
                    lower(trim(result_status))
                ) desc nulls last,
                content_sha256 asc
        ) = 1
)

select *
from ranked
where result_status is distinct from 'cancelled'
