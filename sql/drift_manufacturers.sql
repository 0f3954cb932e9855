-- Drift manufacturers: who made the devices.
-- Grain: one row a manufacturer as the films spell it. Asked over the temporary table
-- `drift_films`.
select
    manufacturer,
    count(*) as films
from drift_films
where manufacturer is not null
group by manufacturer
