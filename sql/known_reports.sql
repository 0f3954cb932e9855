-- Known reports: every version of every report that was imported, so that none is imported twice.
-- Grain: one row a report and content.
select distinct
    report_id,
    content_sha256
from parts.reports
