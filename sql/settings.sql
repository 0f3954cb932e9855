-- Settings: what the views need of the configuration, as the last run or flag set it.
-- Grain: exactly one row; the defaults where nothing was set yet.
select
    coalesce(arg_max(finding, set_at), 'vertebral_fracture') as finding,
    coalesce(arg_max(capacity, set_at), 40) as capacity,
    coalesce(arg_max(lookback_before_days, set_at), 1826) as lookback_before_days,
    coalesce(arg_max(lookback_after_days, set_at), 365) as lookback_after_days,
    coalesce(
        arg_max(match_by_patient_and_date, set_at), false
    ) as match_by_patient_and_date
from parts.settings
