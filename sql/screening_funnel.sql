-- Screening funnel: what became of everything that lies in the archives.
-- Grain: one row a step and reason, in the order of the protocol; `step_number` sorts it.
-- Caveat: instances up to `screened`, studies from `studies_screened`, patients in the lists.
-- Failures are those that no later screening has mended.
with files as materialized (
    select
        exclusion_reason,
        failure_reason,
        eligible,
        count(*) as total
    from manifest
    group by exclusion_reason, failure_reason, eligible
),

screened as materialized (
    select
        study_findings.films,
        study_findings.report_status
    from study_findings
    semi join settings on study_findings.finding = settings.finding
),

counted as (
    select
        1 as step_number,
        'found' as step,
        null as reason,
        coalesce(sum(total), 0)::bigint as total
    from files
    union all
    select
        2 as step_number,
        'excluded' as step,
        exclusion_reason as reason,
        sum(total)::bigint as total
    from files
    where exclusion_reason is not null
    group by exclusion_reason
    union all
    select
        3 as step_number,
        'unreadable' as step,
        failure_reason as reason,
        sum(total)::bigint as total
    from files
    where failure_reason is not null
    group by failure_reason
    union all
    select
        4 as step_number,
        'eligible' as step,
        null as reason,
        coalesce(sum(total), 0)::bigint as total
    from files
    where eligible
    union all
    select
        5 as step_number,
        'failed' as step,
        reason,
        sum(instances)::bigint as total
    from failures_by_reason
    where stage in ('decode', 'infer')
    group by reason
    union all
    select
        6 as step_number,
        'screened' as step,
        null as reason,
        coalesce(sum(films), 0)::bigint as total
    from screened
    union all
    select
        7 as step_number,
        'studies_screened' as step,
        report_status as reason,
        count(*) as total
    from screened
    group by report_status
    union all
    select
        8 as step_number,
        'studies_flagged' as step,
        flags_current.report_status as reason,
        count(*) as total
    from flags_current
    semi join settings on flags_current.finding = settings.finding
    where flags_current.state = 'flagged'
    group by flags_current.report_status
    union all
    select
        9 as step_number,
        'studies_reviewed' as step,
        reviews_current.decision as reason,
        count(*) as total
    from reviews_current
    semi join settings on reviews_current.finding = settings.finding
    group by reviews_current.decision
    union all
    select
        10 as step_number,
        'patients_waiting' as step,
        flagged.list as reason,
        count(*) as total
    from flagged
    semi join settings on flagged.finding = settings.finding
    group by flagged.list
)

select *
from counted
order by step_number, total desc, reason
