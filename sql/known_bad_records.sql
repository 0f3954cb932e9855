-- Known bad records: what no reader could read of a source, so that the same record in the same
-- place is counted as known on later nights and fails none of them.
-- Grain: one row a place (a keyed hash) and what was wrong there.
select distinct
    instance_key,
    message
from parts.failures
where stage = 'reports' and sop_instance_uid is null
