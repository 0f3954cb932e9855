-- Drift films: what one model screened after a time, and what the headers of these films leave out.
-- Grain: one row an instance, its last logit. Parameters: $model_sha256, $finding, $since (UTC).
-- Caveat: of an instance with several copies the header that was read last counts. `instances`
-- would look at every file of the archive for the few thousand films of a month.
with screened as materialized (
    select
        sop_instance_uid,
        arg_max(logit, screened_at) as logit
    from parts.predictions
    where
        model_sha256 = $model_sha256
        and finding = $finding
        and screened_at > $since::timestamp
    group by sop_instance_uid
),

headers as (
    select
        written.sop_instance_uid,
        arg_max(
            struct_pack(
                study_instance_uid := nullif(written.study_instance_uid, ''),
                age := written.patient_age_years,
                sex := nullif(trim(written.patient_sex), ''),
                view_position := nullif(trim(written.view_position), ''),
                manufacturer := nullif(trim(written.manufacturer), '')
            ),
            written.scanned_at
        ) as tags
    from parts.manifest as written
    semi join screened on written.sop_instance_uid = screened.sop_instance_uid
    where written.eligible
    group by written.sop_instance_uid
)

select
    screened.sop_instance_uid,
    screened.logit,
    coalesce(headers.tags.study_instance_uid, screened.sop_instance_uid) as study_instance_uid,
    headers.tags.age is null as without_age,
    headers.tags.sex is null as without_sex,
    headers.tags.view_position is null as without_view,
    headers.tags.manufacturer is null as without_manufacturer,
    headers.tags.manufacturer
from screened
left join headers on screened.sop_instance_uid = headers.sop_instance_uid
