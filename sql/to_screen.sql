-- To screen: the plan of a run, newest study first.
-- Grain: one row an instance and content. Parameters: $model_sha256, $transient_nights,
-- $archive_roots (a list).
-- Done is (SOP instance UID, content fingerprint, model) in predictions, or in failures as
-- permanent, or as transient on $transient_nights runs. What is left is a set subtraction, so a
-- resumed run and the next night are the same question.
with given_up as (
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
    films.archive_root,
    films.archive_path,
    films.size_bytes,
    films.mtime_ns,
    films.instance_key,
    films.sop_instance_uid,
    coalesce(nullif(films.study_instance_uid, ''), films.sop_instance_uid) as study_instance_uid,
    films.content_fingerprint,
    films.transfer_syntax_uid,
    films.rows,
    films.columns,
    films.study_date
from manifest as films
anti join done
    on
        films.sop_instance_uid = done.sop_instance_uid
        and films.content_fingerprint = done.content_fingerprint
where
    films.eligible
    and list_contains($archive_roots::varchar[], films.archive_root)
-- The same film below two roots is screened once.
qualify
    row_number() over (
        partition by films.sop_instance_uid, films.content_fingerprint
        order by films.archive_root asc, films.archive_path asc
    ) = 1
order by
    films.study_date desc nulls last,
    study_instance_uid asc,
    films.archive_path asc
