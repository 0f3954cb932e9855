-- Study predictions: a study is as suspicious as its most suspicious film.
-- Grain: one row a study, finding and model; only films that are eligible now count.
-- Caveat: of two films with the same probability, the one with the greater UID stands for both.
select
    instances.study_instance_uid,
    predictions.finding,
    predictions.model_sha256,
    max(predictions.probability) as probability,
    arg_max(
        predictions.sop_instance_uid, (predictions.probability, predictions.sop_instance_uid)
    ) as sop_instance_uid,
    count(*) as films
from predictions
inner join instances on predictions.sop_instance_uid = instances.sop_instance_uid
where instances.eligible
group by instances.study_instance_uid, predictions.finding, predictions.model_sha256
