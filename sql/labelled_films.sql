-- Labelled films: the eligible films that a labels file says something of, newest study first.
-- Grain: one row an eligible instance; a study's label is that of all its eligible films.
-- Parameters: $label_key, $archive_roots (a list).
-- Reads the temporary table `agreed_labels` (that query's answer), which vfscreen.results.labels
-- makes first. `patient_id` is NULL where no instance of the study names a patient.
with places as materialized (
    select
        manifest.* replace (
            coalesce(
                nullif(manifest.study_instance_uid, ''), manifest.sop_instance_uid
            ) as study_instance_uid,
            nullif(manifest.patient_id, '') as patient_id,
            nullif(manifest.issuer_of_patient_id, '') as issuer_of_patient_id
        )
    from manifest
    where
        list_contains($archive_roots::varchar[], manifest.archive_root)
        and manifest.sop_instance_uid <> ''
),

-- What one instance of a study leaves out, another tells (studies.sql).
patients as (
    select
        study_instance_uid,
        min(patient_id) as patient_id,
        min(issuer_of_patient_id) as issuer_of_patient_id
    from places
    group by study_instance_uid
),

-- A patient id with a single issuer in the archive is that issuer's also where none is named, so
-- that nobody is two patients, one on each side of a split.
issuers as (
    select
        patient_id,
        min(issuer_of_patient_id) as issuer_of_patient_id
    from places
    where patient_id is not null
    group by patient_id
    having count(distinct issuer_of_patient_id) = 1
),

labelled as (
    select distinct unit
    from agreed_labels
)

select
    labelled.unit,
    places.archive_root,
    places.archive_path,
    places.size_bytes,
    places.instance_key,
    places.sop_instance_uid,
    places.study_instance_uid,
    places.content_fingerprint,
    places.transfer_syntax_uid,
    places.rows,
    places.columns,
    coalesce(places.patient_id, patients.patient_id) as patient_id,
    coalesce(
        places.issuer_of_patient_id, patients.issuer_of_patient_id, issuers.issuer_of_patient_id
    ) as issuer_of_patient_id,
    places.patient_sex,
    places.patient_age_years,
    places.manufacturer,
    places.view_position,
    places.study_date
from places
inner join labelled
    on
        case
            when $label_key = 'sop_instance_uid' then places.sop_instance_uid
            else places.study_instance_uid
        end = labelled.unit
inner join patients on places.study_instance_uid = patients.study_instance_uid
left join issuers on coalesce(places.patient_id, patients.patient_id) = issuers.patient_id
where places.eligible
-- The same film below two roots is one film.
qualify
    row_number() over (
        partition by places.sop_instance_uid
        order by places.archive_root asc, places.archive_path asc
    ) = 1
order by
    places.study_date desc nulls last,
    places.study_instance_uid asc,
    places.archive_path asc
