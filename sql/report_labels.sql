-- Report labels: what the reader of reports made of each.
-- Grain: one row a report and finding: the last label of the report as it stands now. A label of
-- an earlier version's text does not count.
-- Only what was labelled more than once is sorted; it is found by a hash (see manifest.sql).
with repeated as (
    select hash(report_id, finding) as key_hash
    from parts.report_labels
    group by key_hash
    having count(*) > 1
),

standing as materialized (
    select
        report_id,
        content_sha256
    from reports
),

latest as (
    select labels.*
    from parts.report_labels as labels
    semi join repeated on hash(labels.report_id, labels.finding) = repeated.key_hash
    semi join standing
        on
            labels.report_id = standing.report_id
            and labels.content_sha256 = standing.content_sha256
    qualify
        row_number() over (
            partition by labels.report_id, labels.finding
            order by labels.labelled_at desc, labels.run_id desc
        ) = 1
)

select labels.*
from parts.report_labels as labels
anti join repeated on hash(labels.report_id, labels.finding) = repeated.key_hash
semi join standing
    on
        labels.report_id = standing.report_id
        and labels.content_sha256 = standing.content_sha256
union all
select * from latest
