-- Checkpoints: what was ever used here, with its calibration and operating points.
-- Grain: one row a checkpoint, finding and operating point, as last registered.
select *
from parts.checkpoints
qualify
    row_number() over (
        partition by checkpoint_sha256, finding, operating_point
        order by registered_at desc
    ) = 1
