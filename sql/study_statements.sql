-- Study statements: what all reports of a study say about a finding, together.
-- Grain: one row a study and finding of which some report was read.
-- The strongest mention counts: reported > uncertain > ambiguous > denied > not_mentioned. An
-- addendum or correction that speaks of the finding has the last word over every report before
-- it, whatever they say.
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
last_words as (
    select
        study_instance_uid,
        finding,
        max(coalesce(report_datetime, 'infinity'::timestamp)) as said_at
    from labelled
    where amends
    group by study_instance_uid, finding
),

marked as (
    select
        labelled.*,
        (
            last_words.said_at is null
            or coalesce(labelled.report_datetime, '-infinity'::timestamp) > last_words.said_at
            or (
                labelled.amends
                and coalesce(labelled.report_datetime, 'infinity'::timestamp) >= last_words.said_at
            )
        ) as counts
    from labelled
    left join last_words
        on
            labelled.study_instance_uid = last_words.study_instance_uid
            and labelled.finding = last_words.finding
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
