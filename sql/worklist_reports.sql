-- Worklist reports: what was written about the worklist's studies, with the mentions marked.
-- Grain: one row a study and report, oldest first. Parameter: $capacity.
select
    flagged.study_instance_uid,
    reports.report_id,
    reports.result_status,
    reports.report_datetime,
    reports.text,
    report_labels.report_status,
    report_labels.evidence
from flagged
inner join settings on flagged.finding = settings.finding
inner join study_reports on flagged.study_instance_uid = study_reports.study_instance_uid
inner join reports on study_reports.report_id = reports.report_id
left join report_labels
    on
        study_reports.report_id = report_labels.report_id
        and flagged.finding = report_labels.finding
where flagged.list = 'unreported' and flagged.rank <= $capacity
order by flagged.rank, reports.report_datetime nulls first, reports.report_id
