-- Heatmaps: the pictures that were rendered, and where the Grad-CAM is strongest.
-- Grain: one row an instance, finding and model, the last rendered.
select *
from parts.heatmaps
qualify
    row_number() over (
        partition by sop_instance_uid, finding, model_sha256
        order by rendered_at desc
    ) = 1
