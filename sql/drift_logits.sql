-- Drift logits: how many films lie in each bin of logits.
-- Grain: one row a bin that holds a film; `bin` counts from 0. Asked over the temporary table
-- `drift_films`. Parameter: $edges, the inner edges of the bins, increasing.
with bins as (
    select
        unnest(range(len($edges::double[]) + 1)) as bin,
        unnest(list_prepend('-infinity'::double, $edges::double[])) as from_logit
)

select
    bins.bin,
    count(*) as films
from drift_films
asof inner join bins on drift_films.logit >= bins.from_logit
group by bins.bin
