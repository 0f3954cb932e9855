-- Audit strata: how many studies each stratum of an audit has.
-- Grain: one row a stratum (above or below the threshold, report status) and `in_period`.
-- Reads the temporary table `audit_population` (that query's answer), which vfscreen.results.audits
-- makes first. `mean_probability` is what the checkpoint expects of the stratum.
select
    above,
    report_status,
    in_period,
    count(*) as studies,
    avg(probability) as mean_probability
from audit_population
group by above, report_status, in_period
order by above desc, report_status, in_period
