-- Study statements: what all reports of a study say about a finding, together.
-- Grain: one row a study and finding of which some report was read.
-- The strongest mention counts: reported > uncertain > ambiguous > denied > not_mentioned, but for
-- what was said before somebody took it back:
--   An addendum or correction that speaks of the finding has the last word over every report
--   before it, except of other levels than those it names; one that does not speak of it changes
--   nothing.
--   Where all reports are dated after an addendum, one of the times is wrong: it amends the first.
--   A preliminary report is a draft: it counts until a final or corrected one of the study is
--   there, even if that says nothing of the finding: what the department signed is the report.
-- Reports that arrive late count by their own time. One that was cancelled or replaced does not
-- count (reports.sql); a report that changed counts by its latest version.
-- `history`: some report names the finding as known before, which is not reporting it.
with labelled as (
    select
        study_reports.study_instance_uid,
        report_labels.finding,
        report_labels.report_id,
        report_labels.report_status,
        report_labels.history,
        report_labels.levels,
        reports.report_datetime,
        reports.result_status,
        list_position(
            ['reported', 'uncertain', 'ambiguous', 'denied', 'not_mentioned'],
            report_labels.report_status
        ) as weakness,
        coalesce(reports.result_status in ('addendum', 'corrected'), false)
        and report_labels.report_status <> 'not_mentioned' as amends
    from study_reports
    inner join reports on study_reports.report_id = reports.report_id
    inner join report_labels on study_reports.report_id = report_labels.report_id
),

-- An amendment without a time comes after what it amends.
amended as (
    select
        study_instance_uid,
        finding,
        max(coalesce(report_datetime, 'infinity'::timestamp)) as said_at
    from labelled
    where amends
    group by study_instance_uid, finding
),

last_words as (
    select
        labelled.study_instance_uid,
        labelled.finding,
        any_value(amended.said_at) as said_at,
        -- From when on a report is a new one.
        greatest(
            any_value(amended.said_at),
            min(coalesce(labelled.report_datetime, '-infinity'::timestamp))
            filter (where labelled.result_status is distinct from 'addendum')
        ) as heard_after,
        flatten(
            list(labelled.levels) filter (
                where
                labelled.amends
                and coalesce(labelled.report_datetime, 'infinity'::timestamp)
                = amended.said_at
            )
        ) as levels
    from labelled
    inner join amended
        on
            labelled.study_instance_uid = amended.study_instance_uid
            and labelled.finding = amended.finding
    group by labelled.study_instance_uid, labelled.finding
),

drafts as (
    select distinct study_instance_uid
    from labelled
    where result_status = 'preliminary'
),

-- A final report without a time comes after every draft.
signed as (
    select
        labelled.study_instance_uid,
        labelled.finding,
        max(coalesce(labelled.report_datetime, 'infinity'::timestamp)) as signed_at
    from labelled
    semi join drafts on labelled.study_instance_uid = drafts.study_instance_uid
    where labelled.result_status in ('final', 'corrected')
    group by labelled.study_instance_uid, labelled.finding
),

marked as (
    select
        labelled.*,
        (
            last_words.said_at is null
            or coalesce(labelled.report_datetime, '-infinity'::timestamp)
            > last_words.heard_after
            or (
                labelled.amends
                and coalesce(labelled.report_datetime, 'infinity'::timestamp) >= last_words.said_at
            )
            or (
                len(labelled.levels) > 0
                and len(last_words.levels) > 0
                and not list_has_any(labelled.levels, last_words.levels)
            )
        )
        and (
            labelled.result_status is distinct from 'preliminary'
            or signed.signed_at is null
            or coalesce(labelled.report_datetime, '-infinity'::timestamp) > signed.signed_at
        ) as counts
    from labelled
    left join last_words
        on
            labelled.study_instance_uid = last_words.study_instance_uid
            and labelled.finding = last_words.finding
    left join signed
        on
            labelled.study_instance_uid = signed.study_instance_uid
            and labelled.finding = signed.finding
)

select
    study_instance_uid,
    finding,
    arg_min(report_status, weakness) filter (where counts) as report_status,
    bool_or(history) as history,
    list_sort(list_distinct(flatten(list(levels) filter (where counts)))) as levels,
    list_sort(list(report_id) filter (where counts)) as report_ids,
    count(*) as reports,
    max(report_datetime) as latest_report_at
from marked
group by study_instance_uid, finding
