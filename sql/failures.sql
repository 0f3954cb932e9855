-- Failures: what could not be done, where on its path, and how often it was tried.
-- Grain: one row an instance (by its keyed hash) and stage, the last failure; `nights_tried` counts
-- the runs that failed on it.
with tried as (
    select
        instance_key,
        stage,
        count(distinct run_id) as nights_tried
    from parts.failures
    group by instance_key, stage
),

latest as (
    select *
    from parts.failures
    qualify
        row_number() over (
            partition by instance_key, stage
            order by failed_at desc, run_id desc
        ) = 1
)

select
    latest.*,
    tried.nights_tried
from latest
inner join tried
    on latest.instance_key = tried.instance_key and latest.stage = tried.stage
