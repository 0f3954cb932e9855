-- Predictions: what each model said about each film.
-- Grain: one row an instance, finding and model, the last that was written.
-- `probability` is the calibrated one, derived from the logit by the model's last registered
-- calibration (calibrations.sql); where none is registered, as it was written.
with latest as (
    select *
    from parts.predictions
    qualify
        row_number() over (
            partition by sop_instance_uid, finding, model_sha256
            order by screened_at desc, run_id desc
        ) = 1
)

select
    latest.* replace (
        1 / (1 + exp(-latest.logit::double)) as raw_probability,
        coalesce(
            1 / (
                1 + exp(
                    -(
                        calibrations.calibration_slope * latest.logit
                        + calibrations.calibration_intercept
                    )
                )
            ),
            latest.probability::double,
            1 / (1 + exp(-latest.logit::double))
        ) as probability
    )
from latest
left join calibrations
    on
        latest.model_sha256 = calibrations.model_sha256
        and latest.finding = calibrations.finding
