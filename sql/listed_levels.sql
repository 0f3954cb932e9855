-- Listed levels: the vertebrae at which films on the list look suspicious, where the checkpoint in
-- use answers by level (`vertebral_fracture_L1` beside `vertebral_fracture`).
-- Grain: one row a film and level at or above the level's own default operating point.
-- Parameters: $sop_instance_uids (a list); $finding.
-- Caveat: a film has no answer for a level that it does not show; a level that is missing here may
-- not have been looked at.
with heads as (
    select
        current_checkpoint.model_sha256,
        current_checkpoint.finding,
        regexp_extract(current_checkpoint.finding, '_((T1[0-2])|(L[1-5]))$', 1) as level,
        checkpoints.threshold
    from current_checkpoint
    inner join checkpoints
        on
            current_checkpoint.checkpoint_sha256 = checkpoints.checkpoint_sha256
            and current_checkpoint.finding = checkpoints.finding
    where checkpoints.operating_point = 'default'
),

listed as (
    select unnest($sop_instance_uids::varchar[]) as sop_instance_uid
)

select
    predictions.sop_instance_uid,
    heads.level,
    predictions.probability
from predictions
inner join heads
    on
        predictions.model_sha256 = heads.model_sha256
        and predictions.finding = heads.finding
semi join listed on predictions.sop_instance_uid = listed.sop_instance_uid
where
    heads.level <> ''
    and heads.finding = $finding || '_' || heads.level
    and predictions.probability >= heads.threshold
order by predictions.sop_instance_uid asc, predictions.probability desc, heads.level asc
