-- Report labels: what the reader of reports made of each.
-- Grain: one row a report and finding: the last label of the report as it stands now. A label of
-- an earlier version's text does not count.
select labels.*
from parts.report_labels as labels
inner join reports
    on
        labels.report_id = reports.report_id
        and labels.content_sha256 = reports.content_sha256
qualify
    row_number() over (
        partition by labels.report_id, labels.finding
        order by labels.labelled_at desc, labels.run_id desc
    ) = 1
