-- Study predictions: a study is as suspicious as its most suspicious film.
-- Grain: one row a study, finding and model; only films that are eligible now count.
-- Caveat: of two films with the same probability, the one with the greater UID stands for both.
-- Where eligible copies of a film name different studies, the first by path decides, as in
-- instances.sql, of which this asks less: no instance that is not eligible.
with eligible_copies as materialized (
    select
        sop_instance_uid,
        coalesce(nullif(study_instance_uid, ''), sop_instance_uid) as study_instance_uid,
        archive_root,
        archive_path
    from manifest
    where eligible and sop_instance_uid <> ''
),

repeated as (
    select hash(sop_instance_uid) as uid_hash
    from eligible_copies
    group by uid_hash
    having count(*) > 1
),

eligible_films as (
    select
        eligible_copies.sop_instance_uid,
        eligible_copies.study_instance_uid
    from eligible_copies
    anti join repeated on hash(eligible_copies.sop_instance_uid) = repeated.uid_hash
    union all
    select
        eligible_copies.sop_instance_uid,
        arg_min(
            eligible_copies.study_instance_uid,
            (eligible_copies.archive_root, eligible_copies.archive_path)
        ) as study_instance_uid
    from eligible_copies
    semi join repeated on hash(eligible_copies.sop_instance_uid) = repeated.uid_hash
    group by eligible_copies.sop_instance_uid
)

select
    eligible_films.study_instance_uid,
    predictions.finding,
    predictions.model_sha256,
    max(predictions.probability) as probability,
    arg_max(
        predictions.sop_instance_uid, (predictions.probability, predictions.sop_instance_uid)
    ) as sop_instance_uid,
    count(*) as films
from predictions
inner join eligible_films on predictions.sop_instance_uid = eligible_films.sop_instance_uid
group by eligible_films.study_instance_uid, predictions.finding, predictions.model_sha256
