-- Calibrations: how a model's logit becomes a probability (Platt scaling: slope and intercept).
-- Grain: one row a model and finding: the last registered checkpoint of that model decides, so a
-- recalibration changes every probability at once and decodes nothing.
-- Reference: Platt JC (1999), Advances in Large Margin Classifiers, 61-74.
select
    model_sha256,
    finding,
    arg_max(checkpoint_sha256, registered_at) as checkpoint_sha256,
    arg_max(calibration_slope, registered_at) as calibration_slope,
    arg_max(calibration_intercept, registered_at) as calibration_intercept
from parts.checkpoints
where calibration_slope is not null and calibration_intercept is not null
group by model_sha256, finding
