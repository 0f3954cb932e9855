-- Drift totals: what drift_films.sql found, counted; and the films that failed meanwhile.
-- Grain: exactly one row. Asked over the temporary table `drift_films`. Parameters:
-- $threshold_logit (from which on a film is called positive), $model_sha256, $since (UTC).
-- Caveat: a film that failed and was screened later has not failed.
with failed as (
    select count(distinct failures.instance_key) as films
    from parts.failures as failures
    anti join drift_films on failures.sop_instance_uid = drift_films.sop_instance_uid
    where
        failures.model_sha256 = $model_sha256
        and failures.stage in ('decode', 'infer')
        and failures.failed_at > $since::timestamp
)

select
    count(*) as films,
    count(distinct study_instance_uid) as studies,
    count(*) filter (where logit >= $threshold_logit) as positive,
    count(*) filter (where without_age) as without_age,
    count(*) filter (where without_sex) as without_sex,
    count(*) filter (where without_view) as without_view,
    count(*) filter (where without_manufacturer) as without_manufacturer,
    (select failed.films from failed) as failed
from drift_films
