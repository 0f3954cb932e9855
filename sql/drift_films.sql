-- Drift films: what one model screened after a time, and what the headers of these films leave out.
-- Grain: one row an instance, its last logit. Parameters: $model_sha256, $finding, $since (UTC).
with screened as (
    select
        sop_instance_uid,
        arg_max(logit, screened_at) as logit
    from parts.predictions
    where
        model_sha256 = $model_sha256
        and finding = $finding
        and screened_at > $since::timestamp
    group by sop_instance_uid
)

select
    screened.sop_instance_uid,
    screened.logit,
    coalesce(instances.study_instance_uid, screened.sop_instance_uid) as study_instance_uid,
    instances.patient_age_years is null as without_age,
    nullif(trim(instances.patient_sex), '') is null as without_sex,
    nullif(trim(instances.view_position), '') is null as without_view,
    nullif(trim(instances.manufacturer), '') is null as without_manufacturer,
    instances.manufacturer
from screened
left join instances on screened.sop_instance_uid = instances.sop_instance_uid
