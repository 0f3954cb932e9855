-- RCR audit: how well the reports of likely fractures meet the standards of the Royal College of
-- Radiologists: identified, called "vertebral fracture", graded, and acted on.
-- Parameters: $finding, $threshold (what counts as likely).
-- Grain: one row a standard.
-- `identified`: the study's reports name the finding as a fracture, as possible, or by its shape
-- alone; the other standards are asked of these, of all their reports that count together.
-- `vertebral_fracture_words`: an affirmed mention stands in a sentence with "vertebral fracture"
-- (up to two words between, as in "vertebral compression fracture"), or the Spanish or Chinese
-- for it.
-- Caveat: the audit asks this of fractures that a reader confirmed as moderate or severe; here they
-- are those that the model finds likely, so `identified` is too low by its false positives, and
-- the model misses mild ones. Words, grade and recommendation are those that the rules found. The
-- standard that bones are commented on in every report is not measured: rules keep no evidence of
-- "bones unremarkable".
-- Reference: RCR audit standard, targets, and results of its 2022 re-audit in the UK: 67.8 % used
-- the words, 34.7 % named a grade, 11.7 % recommended onward action.
with likely as materialized (
    select
        study_instance_uid,
        report_status,
        report_ids
    from study_findings
    where
        finding = $finding
        and probability >= $threshold
        and report_status <> 'no_report'
),

identified as (
    select
        study_instance_uid,
        unnest(report_ids) as report_id
    from likely
    where report_status in ('reported', 'uncertain', 'ambiguous')
),

labels as materialized (
    select
        identified.study_instance_uid,
        report_labels.severity,
        report_labels.recommendation,
        report_labels.evidence
    from identified
    inner join report_labels on identified.report_id = report_labels.report_id
    where report_labels.finding = $finding
),

mentions as (
    select
        study_instance_uid,
        unnest(evidence) as mention
    from labels
),

worded as (
    select distinct study_instance_uid
    from mentions
    where
        struct_extract(mention, 'assertion') = 'affirmed'
        and struct_extract(mention, 'section') in ('body', 'findings', 'impression', 'addendum')
        and regexp_matches(
            struct_extract(mention, 'sentence'),
            'vertebral\s+(\w+\s+){0,2}(fracture|fx)'
            || '|fracturas?\s+(\w+\s+){0,2}vertebral'
            || '|椎[體体].{0,6}骨折|[壓压][迫縮缩]性骨折',
            'is'
        )
),

graded as (
    select distinct study_instance_uid
    from labels
    where severity is not null
),

acted_on as (
    select distinct study_instance_uid
    from labels
    where recommendation
),

counts as (
    select
        (select count(*) from likely) as likely_studies,
        (
            select count(*) from likely
            where report_status in ('reported', 'uncertain', 'ambiguous')
        ) as identified_studies
),

standards as (
    select
        1 as number,
        'identified' as standard,
        identified_studies as met,
        0.9 as target,
        null as uk_2022
    from counts
    union all
    select
        2 as number,
        'vertebral_fracture_words' as standard,
        (select count(*) from worded) as met,
        1.0 as target,
        0.678 as uk_2022
    union all
    select
        3 as number,
        'grade_named' as standard,
        (select count(*) from graded) as met,
        null as target,
        0.347 as uk_2022
    union all
    select
        4 as number,
        'action_recommended' as standard,
        (select count(*) from acted_on) as met,
        1.0 as target,
        0.117 as uk_2022
)

select
    standards.standard,
    standards.met,
    if(standards.number = 1, counts.likely_studies, counts.identified_studies) as of_studies,
    standards.met / nullif(
        if(standards.number = 1, counts.likely_studies, counts.identified_studies), 0
    ) as share,
    standards.target::double as target,
    standards.uk_2022::double as uk_2022
from standards
cross join counts
order by standards.number
