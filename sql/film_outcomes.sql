-- Film outcomes: what one model made of each eligible film, as the film is now.
-- Grain: one row an instance and finding; an instance that failed has one, without a finding and
-- with `failure_reason`; one that the model has not seen yet has none.
-- Parameters: $model_sha256, $archive_roots (a list).
-- A prediction counts only for the content that it was made of; a film that failed one night and
-- was screened on another is screened.
with films as materialized (
    select distinct
        sop_instance_uid,
        content_fingerprint
    from manifest
    where
        eligible
        and list_contains($archive_roots::varchar[], archive_root)
),

predicted as materialized (
    select
        written.sop_instance_uid,
        written.content_fingerprint,
        written.finding,
        arg_max(written.logit, written.screened_at) as logit
    from parts.predictions as written
    semi join films
        on
            written.sop_instance_uid = films.sop_instance_uid
            and written.content_fingerprint = films.content_fingerprint
    where written.model_sha256 = $model_sha256
    group by written.sop_instance_uid, written.content_fingerprint, written.finding
),

failed as (
    select
        written.sop_instance_uid,
        arg_max(written.reason, written.failed_at) as failure_reason
    from parts.failures as written
    semi join films
        on
            written.sop_instance_uid = films.sop_instance_uid
            and written.content_fingerprint = films.content_fingerprint
    anti join predicted on written.sop_instance_uid = predicted.sop_instance_uid
    where
        written.model_sha256 = $model_sha256
        and written.stage in ('decode', 'infer')
    group by written.sop_instance_uid
)

select
    sop_instance_uid,
    finding,
    logit,
    null::varchar as failure_reason
from predicted
union all
select
    sop_instance_uid,
    null::varchar as finding,
    null::float as logit,
    failure_reason
from failed
