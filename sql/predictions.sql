-- Predictions: what each model said about each film.
-- Grain: one row an instance, finding and model, the last that was written.
-- `probability` is the calibrated one, derived from the logit by the model's last registered
-- calibration (calibration_pieces.sql); where none is registered, as it was written.
-- Only what was predicted more than once is sorted; it is found by a hash (see manifest.sql).
with repeated as (
    select hash(sop_instance_uid, finding, model_sha256) as key_hash
    from parts.predictions
    group by key_hash
    having count(*) > 1
),

last_written as (
    select written.*
    from parts.predictions as written
    semi join repeated
        on
            hash(written.sop_instance_uid, written.finding, written.model_sha256)
            = repeated.key_hash
    qualify
        row_number() over (
            partition by written.sop_instance_uid, written.finding, written.model_sha256
            order by written.screened_at desc, written.run_id desc
        ) = 1
),

latest as (
    select written.*
    from parts.predictions as written
    anti join repeated
        on
            hash(written.sop_instance_uid, written.finding, written.model_sha256)
            = repeated.key_hash
    union all
    select * from last_written
)

select
    latest.* replace (
        1 / (1 + exp(-latest.logit::double)) as raw_probability,
        coalesce(
            1
            / (
                1
                + exp(
                    -(pieces.anchor_log_odds + pieces.rise * (latest.logit - pieces.anchor_logit))
                )
            ),
            latest.probability::double,
            1 / (1 + exp(-latest.logit::double))
        ) as probability
    )
from latest
left join calibration_pieces as pieces
    on
        latest.model_sha256 = pieces.model_sha256
        and latest.finding = pieces.finding
        and latest.logit >= pieces.from_logit
        and latest.logit < pieces.to_logit
