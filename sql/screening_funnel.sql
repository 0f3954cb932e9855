-- Screening funnel: what became of everything that lies in the archives.
-- Grain: one row a step and reason, in the order of the protocol; `step_number` sorts it.
-- Films: found = excluded + unreadable + eligible; eligible = failed + not screened + screened,
-- where `copy` is the same instance in several places and `waiting` has not been tried by this
-- model.
-- Studies: screened = flagged + not flagged, at the threshold of the last flag; then patients.
-- Caveat: as things are known now, not as one run found them. Failures are those that no later
-- screening has mended. `not_flagged_yet`: the next flag decides.
with files as materialized (
    select
        exclusion_reason,
        failure_reason,
        eligible,
        count(*) as total,
        count(distinct hash(sop_instance_uid)) filter (where eligible) as instances
    from manifest
    group by exclusion_reason, failure_reason, eligible
),

screened as materialized (
    select
        study_findings.study_instance_uid,
        study_findings.films,
        study_findings.report_status,
        study_findings.probability
    from study_findings
    semi join settings on study_findings.finding = settings.finding
),

on_list as materialized (
    select
        flags_current.study_instance_uid,
        flags_current.report_status
    from flags_current
    semi join settings on flags_current.finding = settings.finding
    where flags_current.state = 'flagged'
),

last_flag as (
    select arg_max(flags.threshold, flags.flagged_at) as threshold
    from parts.flags as flags
    semi join settings on flags.finding = settings.finding
),

not_flagged as (
    select
        case
            when last_flag.threshold is null then 'not_flagged_yet'
            when screened.probability < last_flag.threshold then 'below_threshold'
            when screened.report_status = 'reported' then 'reported'
            else 'not_flagged_yet'
        end as reason
    from screened
    cross join last_flag
    anti join on_list on screened.study_instance_uid = on_list.study_instance_uid
),

failed as materialized (
    select
        reason,
        sum(instances)::bigint as total
    from failures_by_reason
    where stage in ('decode', 'infer')
    group by reason
),

copies as (
    select coalesce(sum(total - instances), 0)::bigint as total
    from files
    where eligible
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
        total
    from failed
    union all
    select
        6 as step_number,
        'not_screened' as step,
        'copy' as reason,
        total
    from copies
    where total > 0
    union all
    select
        6 as step_number,
        'not_screened' as step,
        'waiting' as reason,
        total::bigint as total
    from (
        select
            (
                select coalesce(sum(files.total), 0) from files
                where files.eligible
            )
            - (select copies.total from copies)
            - (select coalesce(sum(failed.total), 0) from failed)
            - (select coalesce(sum(screened.films), 0) from screened) as total
    ) as left_over
    where total > 0
    union all
    select
        7 as step_number,
        'screened' as step,
        null as reason,
        coalesce(sum(films), 0)::bigint as total
    from screened
    union all
    select
        8 as step_number,
        'studies_screened' as step,
        report_status as reason,
        count(*) as total
    from screened
    group by report_status
    union all
    select
        9 as step_number,
        'studies_not_flagged' as step,
        reason,
        count(*) as total
    from not_flagged
    group by reason
    union all
    select
        10 as step_number,
        'studies_flagged' as step,
        report_status as reason,
        count(*) as total
    from on_list
    group by report_status
    union all
    select
        11 as step_number,
        'studies_reviewed' as step,
        reviews_current.decision as reason,
        count(*) as total
    from reviews_current
    semi join settings on reviews_current.finding = settings.finding
    group by reviews_current.decision
    union all
    select
        12 as step_number,
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
