-- Current reviews: what was decided last about a study.
-- Grain: one row a study and finding. Earlier decisions stay in `parts.reviews`.
select *
from parts.reviews
qualify
    row_number() over (
        partition by study_instance_uid, finding
        order by reviewed_at desc
    ) = 1
