-- To screen: the plan of a run, newest study first.
-- Grain: one row an instance and content. Parameters: $model_sha256, $transient_nights,
-- $archive_roots (a list).
-- Done is (SOP instance UID, content fingerprint, model) in predictions, or in failures as
-- permanent, or as transient on $transient_nights runs. What is left is a set subtraction, so a
-- resumed run and the next night are the same question.
with eligible_films as (
    select *
    from manifest
    where
        eligible
        and list_contains($archive_roots::varchar[], archive_root)
    qualify
        row_number() over (
            partition by sop_instance_uid, content_fingerprint
            order by archive_root, archive_path
        ) = 1
),

given_up as (
    select
        sop_instance_uid,
        content_fingerprint
    from parts.failures
    where
        model_sha256 = $model_sha256
        and stage in ('decode', 'infer')
    group by sop_instance_uid, content_fingerprint
    having
        bool_or(not transient)
        or count(distinct run_id) filter (where transient) >= $transient_nights
),

done as (
    select
        sop_instance_uid,
        content_fingerprint
    from parts.predictions
    where model_sha256 = $model_sha256
    union all
    select
        sop_instance_uid,
        content_fingerprint
    from given_up
)

select
    eligible_films.archive_root,
    eligible_films.archive_path,
    eligible_films.size_bytes,
    eligible_films.mtime_ns,
    eligible_films.instance_key,
    eligible_films.sop_instance_uid,
    coalesce(
        nullif(eligible_films.study_instance_uid, ''), eligible_films.sop_instance_uid
    ) as study_instance_uid,
    eligible_films.content_fingerprint,
    eligible_films.transfer_syntax_uid,
    eligible_films.rows,
    eligible_films.columns,
    eligible_films.study_date
from eligible_films
anti join done
    on
        eligible_films.sop_instance_uid = done.sop_instance_uid
        and eligible_films.content_fingerprint = done.content_fingerprint
order by
    eligible_films.study_date desc nulls last,
    study_instance_uid asc,
    eligible_films.archive_path asc
