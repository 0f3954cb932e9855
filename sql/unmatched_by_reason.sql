-- Unmatched by reason: how many reports count for no study of the archive, and why.
-- Grain: one row a reason (see unmatched_reports.sql) and source format.
select
    reason,
    source_format,
    count(*) as reports,
    min(report_datetime) as first_report_at,
    max(report_datetime) as last_report_at
from unmatched_reports
group by reason, source_format
order by reports desc, reason asc, source_format asc
