-- Drift reference: how the films looked that the checkpoint in use was calibrated on.
-- Grain: one row a finding that it describes. `reference` is JSON (vfscreen/model/drift.py);
-- `until`: when the model screened its last film, NULL where it has screened none.
with described as (
    select
        checkpoints.model_sha256,
        checkpoints.finding,
        arg_max(checkpoints.reference, checkpoints.registered_at) as reference
    from checkpoints
    inner join current_checkpoint
        on
            checkpoints.checkpoint_sha256 = current_checkpoint.checkpoint_sha256
            and checkpoints.finding = current_checkpoint.finding
    where checkpoints.reference is not null
    group by checkpoints.model_sha256, checkpoints.finding
)

select
    described.model_sha256,
    described.finding,
    described.reference,
    max(written.screened_at) as until
from described
left join parts.predictions as written
    on
        described.model_sha256 = written.model_sha256
        and described.finding = written.finding
group by all
order by described.finding
