-- Reporting rate: of the studies that likely show the finding, how many have it in their report.
-- Grain: one row a calendar year of the study, and one for all (no year).
-- Parameters: $finding, $threshold (what counts as likely).
-- Caveat: biased, and not only by the model's false positives. Fractures that reports miss are
-- subtler than those they name, and the model finds subtle ones less often: the true rate is lower
-- than this one. False positives, which no report can name, push it the other way. An audit that
-- reads a sample of every stratum is the only honest figure.
-- Reference: Chen et al. (2021), PLoS ONE 16(1):e0245992: 204 of 438 (47 %) were reported.
with likely as (
    select
        study_findings.report_status,
        extract(year from studies.study_date) as study_year
    from study_findings
    inner join studies on study_findings.study_instance_uid = studies.study_instance_uid
    where
        study_findings.finding = $finding
        and study_findings.probability >= $threshold
        and study_findings.report_status <> 'no_report'
)

select
    study_year,
    count(*) as likely_studies,
    count(*) filter (where report_status = 'reported') as reported,
    count(*) filter (where report_status = 'uncertain') as uncertain,
    count(*) filter (where report_status = 'ambiguous') as ambiguous,
    count(*) filter (where report_status = 'denied') as denied,
    count(*) filter (where report_status = 'not_mentioned') as not_mentioned,
    count(*) filter (where report_status = 'reported') / count(*) as reporting_rate
from likely
group by grouping sets ((study_year), ())
order by study_year nulls first
