-- Find study: the studies that a person means by an accession number or a study instance UID.
-- Grain: one row a study. Parameter: $key. Where studies that were on the list have this key, the
-- others that share it (one order, several examinations) are left out.
with named as (
    select
        study_instance_uid,
        true as listed
    from flags_current
    where study_instance_uid = $key or accession_number = $key
    union all
    select
        study_instance_uid,
        false as listed
    from instances
    where study_instance_uid = $key or accession_number = $key
)

select study_instance_uid
from named
where $key <> ''
group by study_instance_uid
qualify bool_or(listed) = bool_or(bool_or(listed)) over ()
