-- To explain: films of the lists' first rows that have no heatmap of the model that flagged them.
-- Grain: one row a film and finding. Parameters: $capacity (rows of each list).
select
    flagged.finding,
    flagged.list,
    flagged.rank,
    flagged.model_sha256,
    instances.archive_root,
    instances.archive_path,
    instances.size_bytes,
    instances.instance_key,
    instances.sop_instance_uid,
    instances.study_instance_uid,
    instances.content_fingerprint,
    instances.transfer_syntax_uid,
    instances.rows,
    instances.columns
from flagged
inner join instances on flagged.sop_instance_uid = instances.sop_instance_uid
where flagged.rank <= $capacity and flagged.heatmap is null
order by flagged.list desc, flagged.rank
