-- Worklist: the first rows of the unreported list, with their pictures.
-- Grain: one row a patient. Parameter: $capacity. The finding is that of settings.sql.
select
    flagged.*,
    heatmaps.film_file,
    heatmaps.heatmap_file
from flagged
inner join settings on flagged.finding = settings.finding
left join heatmaps
    on
        flagged.sop_instance_uid = heatmaps.sop_instance_uid
        and flagged.finding = heatmaps.finding
        and flagged.model_sha256 = heatmaps.model_sha256
where flagged.list = 'unreported' and flagged.rank <= $capacity
order by flagged.rank
