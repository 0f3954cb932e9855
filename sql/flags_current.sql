-- Current flags: what was last said of each study that ever was on the list.
-- Grain: one row a study and finding; `state` is `flagged` or `unflagged`.
-- Only what changed more than once is sorted; it is found by a hash (see manifest.sql).
with repeated as (
    select hash(study_instance_uid, finding) as key_hash
    from parts.flags
    group by key_hash
    having count(*) > 1
),

latest as (
    select written.*
    from parts.flags as written
    semi join repeated on hash(written.study_instance_uid, written.finding) = repeated.key_hash
    qualify
        row_number() over (
            partition by written.study_instance_uid, written.finding
            order by written.flagged_at desc, written.run_id desc
        ) = 1
)

select written.*
from parts.flags as written
anti join repeated on hash(written.study_instance_uid, written.finding) = repeated.key_hash
union all
select * from latest
