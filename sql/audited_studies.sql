-- Audited studies: every study drawn for an audit, with what its readers make of it together.
-- Grain: one row an audit and study. `reading`: `yes`, `no`, `unclear`, or NULL while not read.
-- The readers' consensus: where a reader called `consensus` has read it, that reading; else what
-- more than half of its readers say; else `unclear`. Two readers who differ leave a study unclear
-- until someone settles it.
-- Caveat: films are the reference here, and readers err as well.
with said as (
    select
        audit_id,
        study_instance_uid,
        count(*) filter (where reader <> 'consensus') as readers,
        count(distinct reading) filter (where reader <> 'consensus') > 1 as disagree,
        max(reading) filter (where reader = 'consensus') as settled,
        count(*) filter (where reading = 'yes') as yes,
        count(*) filter (where reading = 'no') as no,
        count(*) as readings
    from audit_readings_current
    group by audit_id, study_instance_uid
)

select
    audits.*,
    coalesce(said.readers, 0) as readers,
    coalesce(said.disagree, false) as disagree,
    case
        when said.settled is not null then said.settled
        when 2 * said.yes > said.readings then 'yes'
        when 2 * said.no > said.readings then 'no'
        when said.readings > 0 then 'unclear'
    end as reading
from parts.audits as audits
left join said
    on
        audits.audit_id = said.audit_id
        and audits.study_instance_uid = said.study_instance_uid
