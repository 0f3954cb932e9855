-- Current flags: what was last said of each study that ever was on the list.
-- Grain: one row a study and finding; `state` is `flagged` or `unflagged`.
select *
from parts.flags
qualify
    row_number() over (
        partition by study_instance_uid, finding
        order by flagged_at desc, run_id desc
    ) = 1
