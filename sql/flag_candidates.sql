-- Flag candidates: studies that belong on the list by what is known now, and those that are on it.
-- Grain: one row a study. Parameters: $finding, $threshold (of the calibrated probability).
-- `belongs`: at or above the threshold and not reported. A study whose fracture is reported needs
-- no list; one without any report has its own.
with listed as (
    select study_instance_uid
    from flags_current
    where
        finding = $finding
        and state = 'flagged'
)

select
    screened_studies.*,
    screened_studies.probability >= $threshold
    and screened_studies.report_status <> 'reported' as belongs
from screened_studies
left join listed on screened_studies.study_instance_uid = listed.study_instance_uid
where
    screened_studies.finding = $finding
    and (
        screened_studies.probability >= $threshold
        or listed.study_instance_uid is not null
    )
