-- Current checkpoint: the one that was used last; the list goes by it alone.
-- Grain: one row a finding that it predicts.
with last_used as (
    select arg_max(checkpoint_sha256, registered_at) as checkpoint_sha256
    from parts.checkpoints
)

select distinct
    checkpoints.checkpoint_sha256,
    checkpoints.model_sha256,
    checkpoints.name,
    coalesce(checkpoints.demonstration, false) as demonstration,
    checkpoints.finding
from checkpoints
inner join last_used on checkpoints.checkpoint_sha256 = last_used.checkpoint_sha256
