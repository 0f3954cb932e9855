-- Archive logits: what one model made of every eligible film of an archive, labelled or not.
-- Grain: one row an instance. Parameters: $model_sha256, $finding, $archive_roots (a list).
-- Caveat: `study_date` is NULL where the film names none.
select
    predictions.logit,
    instances.study_date
from predictions
inner join instances on predictions.sop_instance_uid = instances.sop_instance_uid
where
    predictions.model_sha256 = $model_sha256
    and predictions.finding = $finding
    and instances.eligible
    and list_contains($archive_roots::varchar[], instances.archive_root)
