-- Flagged: the ranked list of patients whose fracture probably went unreported.
-- Grain: one row a patient (patient id within issuer; a study without patient id is a patient of
-- its own), finding and list: the best study, with the number of the patient's other ones.
-- Two lists, each with ranks of its own: `unreported`, and `no_report` where nothing was reported
-- yet. The reader cuts them at the capacity: `where rank <= 40`.
-- Off the list: a study that somebody reviewed; and, by `confirm`, `known` or `refer`, the same
-- patient's studies up to the day of that review. `reject` speaks of its own study alone.
-- Caveat: as of the last screen or flag, but for reviews, which count at once. A probability is a
-- reason to look, never a finding.
-- Reference: Chen et al. (2021), PLoS ONE 16(1):e0245992: half of visible fractures unreported.
with marked as (
    select
        *,
        -- The patient, as a key that two unknown patients never share.
        (
            coalesce(patient_id, ''),
            coalesce(issuer_of_patient_id, ''),
            case when patient_id is null then study_instance_uid else '' end
        ) as patient,
        case report_status when 'no_report' then 'no_report' else 'unreported' end as list
    from flags_current
    where state = 'flagged'
),

decisions as (
    select
        study_instance_uid,
        finding,
        decision,
        reviewed_at::date as reviewed_on,
        (
            coalesce(patient_id, ''),
            coalesce(issuer_of_patient_id, ''),
            case when patient_id is null then study_instance_uid else '' end
        ) as patient
    from parts.reviews
),

known_patients as (
    select distinct
        finding,
        patient
    from decisions
    where decision in ('confirm', 'known')
),

waiting as (
    select
        marked.* replace (
            coalesce(marked.known_elsewhere, false)
            or known_patients.patient is not null as known_elsewhere
        )
    from marked
    left join known_patients
        on marked.finding = known_patients.finding and marked.patient = known_patients.patient
    anti join decisions as reviewed
        on
            marked.study_instance_uid = reviewed.study_instance_uid
            and marked.finding = reviewed.finding
    anti join decisions as covering
        on
            marked.patient = covering.patient
            and marked.finding = covering.finding
            and covering.decision <> 'reject'
            and coalesce(marked.study_date, '-infinity'::date) <= covering.reviewed_on
),

best_studies as (
    select
        *,
        count(*) over (partition by finding, patient) - 1 as other_studies
    from waiting
    qualify
        row_number() over (
            partition by finding, list, patient
            order by
                known_elsewhere asc,
                probability desc,
                study_date desc nulls last,
                study_instance_uid asc
        ) = 1
),

names as (
    select
        checkpoint_sha256,
        any_value(name) as checkpoint_name,
        bool_or(coalesce(demonstration, false)) as demonstration
    from parts.checkpoints
    group by checkpoint_sha256
)

select
    row_number() over (
        partition by best_studies.finding, best_studies.list
        order by
            best_studies.known_elsewhere asc,
            best_studies.probability desc,
            best_studies.study_date desc nulls last,
            best_studies.study_instance_uid asc
    ) as rank,
    best_studies.list,
    best_studies.patient_id,
    best_studies.issuer_of_patient_id,
    best_studies.study_instance_uid,
    best_studies.sop_instance_uid,
    best_studies.accession_number,
    best_studies.study_date,
    best_studies.patient_age_years as patient_age,
    best_studies.patient_sex,
    best_studies.finding,
    best_studies.probability,
    best_studies.report_status,
    best_studies.known_elsewhere,
    best_studies.other_studies,
    'heatmaps/' || heatmaps.heatmap_file as heatmap,
    best_studies.model_sha256,
    best_studies.checkpoint_sha256,
    names.checkpoint_name,
    coalesce(names.demonstration, false) as demonstration,
    best_studies.threshold,
    best_studies.flagged_at
from best_studies
left join heatmaps
    on
        best_studies.sop_instance_uid = heatmaps.sop_instance_uid
        and best_studies.finding = heatmaps.finding
        and best_studies.model_sha256 = heatmaps.model_sha256
left join names on best_studies.checkpoint_sha256 = names.checkpoint_sha256
order by best_studies.finding, best_studies.list desc, rank
