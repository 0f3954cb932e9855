-- Calibration pieces: the calibrations as pieces of straight lines, from logit to log-odds.
-- Grain: one row a model, finding and piece; a logit is of the piece with
-- `from_logit <= logit < to_logit`, and every finite one is of exactly one piece:
-- `log_odds = anchor_log_odds + rise * (logit - anchor_logit)`.
-- Temperature and Platt's method have one piece; the outer pieces of others go on without end.
with lines as (
    select
        model_sha256,
        finding,
        calibration_slope as slope,
        calibration_intercept as intercept,
        calibration_knots as knots,
        unnest(range(1, greatest(len(calibration_knots), 2))) as piece
    from calibrations
),

ends as (
    select
        *,
        len(knots) < 2 as straight,
        knots[piece].logit as left_logit,
        knots[piece].log_odds as left_log_odds,
        knots[piece + 1].logit as right_logit,
        knots[piece + 1].log_odds as right_log_odds
    from lines
)

select
    model_sha256,
    finding,
    case when piece = 1 then '-infinity'::double else left_logit end as from_logit,
    case
        when straight or piece = len(knots) - 1 then 'infinity'::double else right_logit
    end as to_logit,
    case when straight then 0.0 else left_logit end as anchor_logit,
    case when straight then intercept else slope * left_log_odds + intercept end as anchor_log_odds,
    case
        when straight then slope
        else slope * (right_log_odds - left_log_odds) / (right_logit - left_logit)
    end as rise
from ends
