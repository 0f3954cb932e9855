-- Audit draw: the sample, without replacement, and the random order in which it is read.
-- Grain: one row a drawn study, in reading order. Parameters: $seed, and lists that name each
-- stratum once: $above, $report_status, its $studies and how many of them are $sampled.
-- Reads the temporary table `audit_population`, see audit_strata.sql.
-- A study's lot is a hash of seed and UID, so that the same seed draws the same studies whatever
-- the order of rows, and a larger sample holds the smaller one.
with strata as (
    select
        unnest($above::boolean[]) as above,
        unnest($report_status::varchar[]) as report_status,
        unnest($studies::bigint[]) as stratum_studies,
        unnest($sampled::bigint[]) as stratum_sampled
),

drawn as (
    select
        audit_population.*,
        strata.stratum_studies,
        strata.stratum_sampled,
        strata.stratum_sampled / strata.stratum_studies as inclusion_probability
    from audit_population
    inner join strata
        on
            audit_population.above = strata.above
            and audit_population.report_status = strata.report_status
    where audit_population.in_period
    qualify
        row_number() over (
            partition by audit_population.above, audit_population.report_status
            order by
                md5($seed::varchar || ' draw ' || audit_population.study_instance_uid) asc,
                audit_population.study_instance_uid asc
        ) <= strata.stratum_sampled
)

select
    * exclude (in_period),
    row_number() over (
        order by md5($seed::varchar || ' read ' || study_instance_uid) asc, study_instance_uid asc
    ) as reading_number
from drawn
order by reading_number
