-- Study report status: where each study stands with its reports, `no_report` included.
-- Grain: one row a study and finding (every study of the archive, every finding that a checkpoint
-- predicts or a lexicon reads). The statuses are those of study_statements.sql; `no_report`: none
-- that was read for this finding.
with findings as (
    select finding from parts.checkpoints
    union
    select finding from parts.report_labels
)

select
    studies.study_instance_uid,
    findings.finding,
    coalesce(study_statements.report_status, 'no_report') as report_status,
    coalesce(study_statements.history, false) as history,
    coalesce(study_statements.levels, []) as levels,
    coalesce(study_statements.report_ids, []) as report_ids,
    coalesce(study_statements.reports, 0) as reports,
    study_statements.latest_report_at
from studies
cross join findings
left join study_statements
    on
        studies.study_instance_uid = study_statements.study_instance_uid
        and findings.finding = study_statements.finding
