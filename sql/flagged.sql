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
with flags as materialized (
    select
        *,
        -- The patient, as keys that two unknown patients never share.
        coalesce(patient_id, '') as patient,
        coalesce(issuer_of_patient_id, '') as issuer,
        case when patient_id is null then study_instance_uid else '' end as unknown_patient,
        case report_status when 'no_report' then 'no_report' else 'unreported' end as list
    from flags_current
    where state = 'flagged'
),

decisions as materialized (
    select
        study_instance_uid,
        finding,
        decision,
        reviewed_at::date as reviewed_on,
        coalesce(patient_id, '') as patient,
        coalesce(issuer_of_patient_id, '') as issuer,
        case when patient_id is null then study_instance_uid else '' end as unknown_patient
    from parts.reviews
),

known_patients as (
    select distinct
        finding,
        patient,
        issuer,
        unknown_patient
    from decisions
    where decision in ('confirm', 'known')
),

-- Only what decides who is listed and where; what is shown of it is joined last.
waiting as materialized (
    select
        flags.study_instance_uid,
        flags.finding,
        flags.list,
        flags.patient,
        flags.issuer,
        flags.unknown_patient,
        flags.study_date,
        flags.probability,
        coalesce(flags.known_elsewhere, false)
        or known_patients.patient is not null as known_elsewhere
    from flags
    left join known_patients
        on
            flags.finding = known_patients.finding
            and flags.patient = known_patients.patient
            and flags.issuer = known_patients.issuer
            and flags.unknown_patient = known_patients.unknown_patient
    anti join decisions as reviewed
        on
            flags.study_instance_uid = reviewed.study_instance_uid
            and flags.finding = reviewed.finding
    anti join decisions as covering
        on
            flags.finding = covering.finding
            and flags.patient = covering.patient
            and flags.issuer = covering.issuer
            and flags.unknown_patient = covering.unknown_patient
            and covering.decision <> 'reject'
            and coalesce(flags.study_date, '-infinity'::date) <= covering.reviewed_on
),

patients as (
    select
        finding,
        patient,
        issuer,
        unknown_patient,
        count(*) - 1 as other_studies
    from waiting
    group by finding, patient, issuer, unknown_patient
),

counted as materialized (
    select
        waiting.*,
        patients.other_studies
    from waiting
    inner join patients
        on
            waiting.finding = patients.finding
            and waiting.patient = patients.patient
            and waiting.issuer = patients.issuer
            and waiting.unknown_patient = patients.unknown_patient
),

best_studies as (
    -- Most patients wait with one study, so only the others' are sorted.
    select *
    from counted
    where other_studies = 0
    union all
    select *
    from counted
    where other_studies > 0
    qualify
        row_number() over (
            partition by finding, list, patient, issuer, unknown_patient
            order by
                known_elsewhere asc,
                probability desc,
                study_date desc nulls last,
                study_instance_uid asc
        ) = 1
),

ranked as (
    select
        study_instance_uid,
        finding,
        known_elsewhere,
        other_studies,
        row_number() over (
            partition by finding, list
            order by
                known_elsewhere asc,
                probability desc,
                study_date desc nulls last,
                study_instance_uid asc
        ) as rank
    from best_studies
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
    ranked.rank,
    flags.list,
    flags.patient_id,
    flags.issuer_of_patient_id,
    flags.study_instance_uid,
    flags.sop_instance_uid,
    flags.accession_number,
    flags.study_date,
    flags.patient_age_years as patient_age,
    flags.patient_sex,
    flags.finding,
    flags.probability,
    flags.report_status,
    ranked.known_elsewhere,
    ranked.other_studies,
    'heatmaps/' || heatmaps.heatmap_file as heatmap,
    flags.model_sha256,
    flags.checkpoint_sha256,
    names.checkpoint_name,
    coalesce(names.demonstration, false) as demonstration,
    flags.threshold,
    flags.flagged_at
from ranked
inner join flags
    on
        ranked.study_instance_uid = flags.study_instance_uid
        and ranked.finding = flags.finding
left join heatmaps
    on
        flags.sop_instance_uid = heatmaps.sop_instance_uid
        and flags.finding = heatmaps.finding
        and flags.model_sha256 = heatmaps.model_sha256
left join names on flags.checkpoint_sha256 = names.checkpoint_sha256
order by flags.finding, flags.list desc, ranked.rank
