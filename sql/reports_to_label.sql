-- Reports to label: the report versions that these rules have not read yet.
-- Grain: one row a report and content. Parameter: $lexicon_sha256.
-- Caveat: only the version that stands now is read; earlier ones count nowhere.
with labelled as (
    select
        report_id,
        content_sha256
    from parts.report_labels
    where lexicon_sha256 = $lexicon_sha256
)

select
    reports.report_id,
    reports.content_sha256,
    reports.accession_number,
    reports.study_instance_uid,
    reports.result_status,
    reports.text
from reports
anti join labelled
    on
        reports.report_id = labelled.report_id
        and reports.content_sha256 = labelled.content_sha256
