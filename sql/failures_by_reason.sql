-- Failures by reason: what an operator mends first.
-- Grain: one row a stage, reason and transfer syntax.
-- Caveat: a film that was screened after it failed, by whichever model, is left out.
select
    failures.stage,
    failures.reason,
    failures.transient,
    failures.transfer_syntax_uid,
    count(*) as instances,
    max(failures.failed_at) as last_failed_at
from failures
where
    not exists (
        select 1
        from parts.predictions as p
        where
            p.sop_instance_uid = failures.sop_instance_uid
            and p.screened_at >= failures.failed_at
    )
group by all
order by instances desc, failures.stage, failures.reason, failures.transfer_syntax_uid
