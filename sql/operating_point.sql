-- Operating point: the probability from which the checkpoint in use calls a study positive.
-- Grain: at most one row. Parameters: $finding, $operating_point.
select max_by(checkpoints.threshold, checkpoints.registered_at) as threshold
from parts.checkpoints
inner join current_checkpoint
    on
        checkpoints.checkpoint_sha256 = current_checkpoint.checkpoint_sha256
        and checkpoints.finding = current_checkpoint.finding
where
    checkpoints.finding = $finding
    and checkpoints.operating_point = $operating_point
having threshold is not null
