-- Audit progress: the audits that were drawn, and how far their reading is.
-- Grain: one row an audit. `unclear` includes studies whose readers differ and nobody settled it.
with names as (
    select
        checkpoint_sha256,
        any_value(name) as checkpoint_name,
        bool_or(coalesce(demonstration, false)) as demonstration
    from parts.checkpoints
    group by checkpoint_sha256
),

counted as (
    select
        audit_id,
        finding,
        any_value(drawn_at) as drawn_at,
        any_value(since) as since,
        any_value(until) as until,
        any_value(threshold) as threshold,
        any_value(checkpoint_sha256) as checkpoint_sha256,
        any_value(seed) as seed,
        count(*) as drawn,
        count(*) filter (where reading in ('yes', 'no')) as clear,
        count(*) filter (where reading = 'unclear') as unclear,
        count(*) filter (where reading is null) as unread,
        count(*) filter (where readers > 1) as read_twice,
        count(*) filter (where disagree) as disagreeing
    from audited_studies
    group by audit_id, finding
)

select
    counted.*,
    names.checkpoint_name,
    coalesce(names.demonstration, false) as demonstration
from counted
left join names on counted.checkpoint_sha256 = names.checkpoint_sha256
