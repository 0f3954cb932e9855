-- Agreed labels: what a labels file says of each film or study, where its rows agree.
-- Grain: one row a unit of label_matches.sql and finding (by its place among the file's findings).
-- Reads the temporary tables `label_values` and `label_matches`, which vfscreen.results.labels
-- makes first. What rows contradict each other about is unknown, and has no row.
select
    label_matches.unit,
    label_values.finding,
    min(label_values.value) as value
from label_matches
inner join label_values on label_matches.line = label_values.line
where label_matches.reason is null
group by label_matches.unit, label_values.finding
having min(label_values.value) = max(label_values.value)
