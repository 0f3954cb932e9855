-- List moves: what moved onto the list, off it, or from one of its two lists to the other.
-- Grain: one row a study and move, newest first. Parameter: $since (a time in UTC). The finding is
-- that of settings.sql.
-- `reason`: `new film`, `new model` (another network sees it otherwise), `recalibrated`,
-- `threshold`, `report arrived`, `report corrected` (a new version, an addendum, a correction, or
-- one that replaces another), `report withdrawn`, `report reread` (by other rules),
-- `reviewed: ...`, `reviewed at another study: ...`, `no longer eligible`, `eligible again`,
-- `film changed`. It is worked out from what happened since the list last changed before; where two
-- things did, a report goes before the film, the film before model, calibration and threshold.
-- Caveat: of the whole lists, which the nurse sees cut at the capacity: who moves up there as
-- others leave is not a move. What is shown is as it was at the time of the move.
with touched as (
    select distinct flags.study_instance_uid
    from parts.flags as flags
    semi join settings on flags.finding = settings.finding
    where flags.flagged_at >= $since
),

-- Whoever was reviewed is off the lists for good: by the study's own review, or one of another
-- study of the patient that covers it (see flagged.sql).
decided as (
    select
        reviews.study_instance_uid,
        reviews.decision,
        reviews.reviewed_at,
        false as elsewhere
    from parts.reviews as reviews
    semi join settings on reviews.finding = settings.finding
    union all
    select
        flags.study_instance_uid,
        reviews.decision,
        reviews.reviewed_at,
        true as elsewhere
    from parts.reviews as reviews
    semi join settings on reviews.finding = settings.finding
    inner join parts.flags as flags
        on
            reviews.finding = flags.finding
            and reviews.patient_id = flags.patient_id
            and coalesce(reviews.issuer_of_patient_id, '')
            = coalesce(flags.issuer_of_patient_id, '')
            and reviews.study_instance_uid <> flags.study_instance_uid
    where
        reviews.decision <> 'reject'
        and coalesce(flags.study_date, '-infinity'::date) <= reviews.reviewed_at::date
),

reviewed as materialized (
    select
        study_instance_uid,
        min(reviewed_at) as reviewed_at,
        arg_min(decision, reviewed_at) as decision,
        arg_min(elsewhere, (reviewed_at, elsewhere)) as elsewhere
    from decided
    group by study_instance_uid
),

states as materialized (
    select
        flags.*,
        case
            when flags.state = 'flagged'
                then if(flags.report_status = 'no_report', 'no_report', 'unreported')
        end as list,
        reviewed.reviewed_at,
        reviewed.decision,
        reviewed.elsewhere
    from parts.flags as flags
    semi join settings on flags.finding = settings.finding
    left join reviewed on flags.study_instance_uid = reviewed.study_instance_uid
    where
        flags.study_instance_uid in (select touched.study_instance_uid from touched)
        or reviewed.reviewed_at >= $since
),

ordered as (
    select
        *,
        lag(list) over study as list_before,
        lag(reason) over study as reason_before,
        lag(report_status) over study as report_status_before,
        lead(flagged_at) over study as next_at
    from states
    window study as (partition by study_instance_uid order by flagged_at, run_id)
),

-- When the list changed, by what it went then, and by what the time before.
changes as (
    select
        flags.flagged_at,
        max(flags.threshold) as threshold
    from parts.flags as flags
    semi join settings on flags.finding = settings.finding
    group by flags.flagged_at
),

registered as (
    select distinct
        checkpoint_sha256,
        model_sha256,
        registered_at
    from parts.checkpoints
),

gone_by as materialized (
    select
        changes.flagged_at,
        changes.threshold,
        registered.checkpoint_sha256 as checkpoint_in_use,
        registered.model_sha256 as model_in_use,
        lag(changes.flagged_at) over (order by changes.flagged_at) as before_at,
        lag(changes.threshold) over (order by changes.flagged_at) as threshold_before,
        lag(registered.checkpoint_sha256) over (order by changes.flagged_at) as checkpoint_before,
        lag(registered.model_sha256) over (order by changes.flagged_at) as model_before
    from changes
    asof left join registered on changes.flagged_at >= registered.registered_at
),

moves as materialized (
    select
        ordered.*,
        gone_by.before_at,
        (gone_by.threshold is distinct from gone_by.threshold_before) as other_threshold,
        (
            gone_by.checkpoint_in_use is distinct from gone_by.checkpoint_before
        ) as other_checkpoint,
        (gone_by.model_in_use is distinct from gone_by.model_before) as other_model
    from ordered
    inner join gone_by on ordered.flagged_at = gone_by.flagged_at
    where
        ordered.flagged_at >= $since
        and (ordered.list is distinct from ordered.list_before)
        and (ordered.reviewed_at is null or ordered.flagged_at < ordered.reviewed_at)
),

films as (
    select
        moves.study_instance_uid,
        moves.flagged_at,
        min(predictions.screened_at) as first_seen_at,
        min(predictions.screened_at)
        filter (where predictions.model_sha256 = moves.model_sha256) as first_seen_by_model_at
    from moves
    inner join parts.predictions as predictions
        on
            moves.sop_instance_uid = predictions.sop_instance_uid
            and moves.finding = predictions.finding
    group by moves.study_instance_uid, moves.flagged_at
),

-- Reports of these studies that came between the two changes of the list, and what they were.
named as (
    select
        moves.study_instance_uid,
        moves.flagged_at,
        reports.report_id,
        reports.imported_at,
        reports.result_status,
        reports.replaces,
        moves.before_at
    from moves
    inner join parts.reports as reports
        on moves.study_instance_uid = trim(reports.study_instance_uid)
    where reports.imported_at <= moves.flagged_at
    union all
    select
        moves.study_instance_uid,
        moves.flagged_at,
        reports.report_id,
        reports.imported_at,
        reports.result_status,
        reports.replaces,
        moves.before_at
    from moves
    inner join parts.reports as reports
        on moves.accession_number = trim(reports.accession_number)
    where
        reports.imported_at <= moves.flagged_at
        and trim(coalesce(reports.study_instance_uid, '')) <> moves.study_instance_uid
),

versions as (
    select
        study_instance_uid,
        flagged_at,
        report_id,
        min(imported_at) <= any_value(before_at) as known_before,
        bool_or(imported_at > before_at) as came,
        bool_or(
            imported_at > before_at
            and (
                lower(trim(result_status)) in ('addendum', 'corrected', 'cancelled')
                or len(replaces) > 0
            )
        ) as amends
    from named
    group by study_instance_uid, flagged_at, report_id
),

came as (
    select
        study_instance_uid,
        flagged_at,
        bool_or(came) as arrived,
        bool_or(came and (known_before or amends)) as corrected
    from versions
    group by study_instance_uid, flagged_at
),

explained as (
    select
        moves.study_instance_uid,
        moves.flagged_at as changed_at,
        moves.list_before as from_list,
        moves.list as to_list,
        case
            when moves.list_before is not null and moves.list = 'no_report'
                then 'report withdrawn'
            when
                (moves.list_before is not null and moves.list = 'unreported')
                or (moves.reason = 'reported' and moves.report_status_before = 'no_report')
                then 'report arrived'
            when
                moves.reason = 'reported'
                or (moves.list is not null and moves.reason_before = 'reported')
                then
                    case
                        when moves.report_status = 'no_report' then 'report withdrawn'
                        when came.corrected then 'report corrected'
                        when came.arrived then 'report arrived'
                        else 'report reread'
                    end
            when moves.reason = 'not_screened' then 'new model'
            when moves.reason = 'not_eligible' then 'no longer eligible'
            when
                moves.list is not null
                and (moves.before_at is null or films.first_seen_at > moves.before_at)
                then 'new film'
            when moves.other_model then 'new model'
            when moves.list is not null and films.first_seen_by_model_at > moves.before_at
                then 'new model'
            when moves.reason_before = 'not_eligible' then 'eligible again'
            when moves.other_checkpoint then 'recalibrated'
            when moves.other_threshold then 'threshold'
            when came.corrected and moves.report_status = 'no_report' then 'report withdrawn'
            when came.corrected then 'report corrected'
            when came.arrived then 'report arrived'
            else 'film changed'
        end as reason,
        moves.patient_id,
        moves.issuer_of_patient_id,
        moves.accession_number,
        moves.study_date,
        moves.finding,
        moves.probability,
        moves.threshold,
        moves.report_status_before,
        moves.report_status
    from moves
    left join films
        on
            moves.study_instance_uid = films.study_instance_uid
            and moves.flagged_at = films.flagged_at
    left join came
        on
            moves.study_instance_uid = came.study_instance_uid
            and moves.flagged_at = came.flagged_at
    union all
    select
        study_instance_uid,
        reviewed_at as changed_at,
        list as from_list,
        null as to_list,
        if(elsewhere, 'reviewed at another study: ', 'reviewed: ') || decision as reason,
        patient_id,
        issuer_of_patient_id,
        accession_number,
        study_date,
        finding,
        probability,
        threshold,
        report_status as report_status_before,
        report_status
    from ordered
    where
        list is not null
        and reviewed_at >= $since
        and reviewed_at >= flagged_at
        and (next_at is null or reviewed_at < next_at)
)

select
    changed_at,
    case
        when from_list is null then 'on'
        when to_list is null then 'off'
        else 'moved'
    end as change,
    from_list,
    to_list,
    * exclude (changed_at, from_list, to_list)
from explained
order by changed_at desc, change desc, probability desc, study_instance_uid asc
