-- Calibrations: how a model's logit becomes a probability, by its log-odds: slope * g + intercept.
-- Grain: one row a model and finding: the last registered checkpoint of that model decides, so a
-- recalibration changes every probability at once and decodes nothing.
-- `calibration_method`: of `temperature` and `platt`, g is the logit; of `isotonic`, it goes by the
-- knots (pairs of logit and log-odds) and is linear between and beyond them. Platt's where an
-- earlier version of vfscreen named none.
-- Reference: Platt JC (1999), Advances in Large Margin Classifiers, 61-74; Oron AP, Flournoy N
-- (2017), Stat Biopharm Res 9:258-267.
select
    model_sha256,
    finding,
    checkpoint_sha256,
    coalesce(calibration_method, 'platt') as calibration_method,
    calibration_slope,
    calibration_intercept,
    coalesce(calibration_knots, []) as calibration_knots
from parts.checkpoints
where calibration_slope is not null and calibration_intercept is not null
qualify
    row_number() over (
        partition by model_sha256, finding
        order by registered_at desc, checkpoint_sha256 desc
    ) = 1
