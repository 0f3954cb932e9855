-- Flag changes: the rows to add so that the list follows what is known now.
-- Grain: one row a study whose state or shown facts change; none where nothing moved.
-- Parameters: $finding, $threshold. Reads the temporary table `flag_candidates` (that query's
-- answer), which vfscreen.results.flags makes first.
-- Reasons. Flagged: `new`, `again` (was off the list), or what differs: `report_status`, `model`,
-- `threshold`, `probability`, `known_elsewhere`, `details`. Unflagged: `reported`,
-- `below_threshold`, `not_screened` (not yet by the current model), `not_eligible`.
with listed as (
    select *
    from flags_current
    where finding = $finding
),

stated as (
    select
        candidates.study_instance_uid,
        candidates.probability,
        candidates.report_status,
        candidates.known_elsewhere,
        candidates.sop_instance_uid,
        candidates.films,
        candidates.patient_id,
        candidates.issuer_of_patient_id,
        candidates.accession_number,
        candidates.study_date,
        candidates.patient_age_years,
        candidates.patient_sex,
        candidates.model_sha256,
        candidates.checkpoint_sha256,
        case
            when listed.state is null then 'new'
            when listed.state = 'unflagged' then 'again'
            when (candidates.report_status is distinct from listed.report_status)
                then 'report_status'
            when (candidates.model_sha256 is distinct from listed.model_sha256)
                then 'model'
            when ($threshold is distinct from listed.threshold)
                then 'threshold'
            when (candidates.probability is distinct from listed.probability)
                then 'probability'
            when (candidates.known_elsewhere is distinct from listed.known_elsewhere)
                then 'known_elsewhere'
            when (
                candidates.sop_instance_uid is distinct from listed.sop_instance_uid
                or candidates.films is distinct from listed.films
                or candidates.patient_id is distinct from listed.patient_id
                or candidates.issuer_of_patient_id is distinct from listed.issuer_of_patient_id
                or candidates.accession_number is distinct from listed.accession_number
                or candidates.study_date is distinct from listed.study_date
                or candidates.patient_age_years is distinct from listed.patient_age_years
                or candidates.patient_sex is distinct from listed.patient_sex
                or candidates.checkpoint_sha256 is distinct from listed.checkpoint_sha256
            ) then 'details'
        end as reason
    from flag_candidates as candidates
    left join listed on candidates.study_instance_uid = listed.study_instance_uid
    where candidates.belongs
),

dropped as (
    select
        listed.* exclude (reason),
        candidates.probability as probability_now,
        candidates.report_status as report_status_now,
        candidates.known_elsewhere as known_elsewhere_now,
        case
            when candidates.report_status = 'reported' then 'reported'
            when candidates.study_instance_uid is not null then 'below_threshold'
        end as reason
    from listed
    left join flag_candidates as candidates
        on listed.study_instance_uid = candidates.study_instance_uid
    where
        listed.state = 'flagged'
        and not coalesce(candidates.belongs, false)
),

still_eligible as (
    select studies.study_instance_uid
    from studies
    semi join dropped on studies.study_instance_uid = dropped.study_instance_uid
    where studies.eligible
)

select
    study_instance_uid,
    $finding as finding,
    'flagged' as state,
    reason,
    $threshold as threshold,
    probability,
    report_status,
    known_elsewhere,
    sop_instance_uid,
    films,
    patient_id,
    issuer_of_patient_id,
    accession_number,
    study_date,
    patient_age_years,
    patient_sex,
    model_sha256,
    checkpoint_sha256
from stated
where reason is not null
union all
select
    dropped.study_instance_uid,
    $finding as finding,
    'unflagged' as state,
    case
        when dropped.reason is not null then dropped.reason
        when still_eligible.study_instance_uid is not null then 'not_screened'
        else 'not_eligible'
    end as reason,
    $threshold as threshold,
    coalesce(dropped.probability_now, dropped.probability) as probability,
    coalesce(dropped.report_status_now, dropped.report_status) as report_status,
    coalesce(dropped.known_elsewhere_now, dropped.known_elsewhere) as known_elsewhere,
    dropped.sop_instance_uid,
    dropped.films,
    dropped.patient_id,
    dropped.issuer_of_patient_id,
    dropped.accession_number,
    dropped.study_date,
    dropped.patient_age_years,
    dropped.patient_sex,
    dropped.model_sha256,
    dropped.checkpoint_sha256
from dropped
left join still_eligible on dropped.study_instance_uid = still_eligible.study_instance_uid
