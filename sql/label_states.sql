-- Label states: what became of each row of a labels file.
-- Grain: one row a row of the file; `reason` is null where the row is used. The first reason wins:
-- `empty` (no finding is filled in), `no_key`, the reasons of label_matches.sql, `contradictory`
-- (another row says the opposite of one of its findings), `repeated` (earlier rows say all of it).
-- Reads the temporary tables `label_rows`, `label_values` and `label_matches`, which
-- vfscreen.results.labels makes first.
with given as (
    select
        label_matches.line,
        min(label_values.value) over same_label
        <> max(label_values.value) over same_label as contradicted,
        label_matches.line > min(label_matches.line) over same_label as said_before
    from label_matches
    inner join label_values on label_matches.line = label_values.line
    where label_matches.reason is null
    window same_label as (partition by label_matches.unit, label_values.finding)
),

used as (
    select
        line,
        bool_or(contradicted) as contradictory,
        bool_and(said_before) as repeated
    from given
    group by line
),

unused as (
    select
        line,
        min(reason) as reason
    from label_matches
    group by line
),

filled_in as (
    select distinct line
    from label_values
)

select
    label_rows.line,
    case
        when filled_in.line is null then 'empty'
        when label_rows.key is null then 'no_key'
        when used.contradictory then 'contradictory'
        when used.repeated then 'repeated'
        when used.line is null then unused.reason
    end as reason
from label_rows
inner join unused on label_rows.line = unused.line
left join filled_in on label_rows.line = filled_in.line
left join used on label_rows.line = used.line
order by label_rows.line
