-- Study film: the film that stands for a study, with its heatmap where it was rendered.
-- Grain: at most one row. Parameters: $study_instance_uid, $finding; current checkpoint.
select
    study_predictions.finding,
    study_predictions.probability,
    study_predictions.model_sha256,
    'heatmaps/' || heatmaps.heatmap_file as heatmap,
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
from study_predictions
inner join current_checkpoint
    on
        study_predictions.model_sha256 = current_checkpoint.model_sha256
        and study_predictions.finding = current_checkpoint.finding
inner join instances on study_predictions.sop_instance_uid = instances.sop_instance_uid
left join heatmaps
    on
        study_predictions.sop_instance_uid = heatmaps.sop_instance_uid
        and study_predictions.finding = heatmaps.finding
        and study_predictions.model_sha256 = heatmaps.model_sha256
where
    study_predictions.study_instance_uid = $study_instance_uid
    and study_predictions.finding = $finding
