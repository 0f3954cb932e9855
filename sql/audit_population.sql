-- Audit population: the screened studies that an audit speaks of, each with its stratum.
-- Grain: one row a study of the current checkpoint. Parameters: $finding, $threshold, $since and
-- $until (study dates, both included; NULL: no bound).
-- `above`: at or above the threshold. `in_period` is NULL for a study without date where a bound
-- is given: it can be in no period, and is counted instead of drawn.
select
    study_instance_uid,
    finding,
    accession_number,
    study_date,
    films,
    probability,
    probability >= $threshold as above,
    report_status,
    model_sha256,
    checkpoint_sha256,
    ($since::date is null or study_date >= $since::date)
    and ($until::date is null or study_date <= $until::date) as in_period
from screened_studies
where finding = $finding
