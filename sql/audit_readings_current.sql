-- Current audit readings: what each reader said last of a drawn study.
-- Grain: one row an audit, study and reader. Earlier readings stay in `parts.audit_readings`.
select *
from parts.audit_readings
qualify
    row_number() over (
        partition by audit_id, study_instance_uid, reader
        order by imported_at desc
    ) = 1
