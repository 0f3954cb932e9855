-- Instances: each DICOM instance once, however many copies of it lie in the archives.
-- Grain: one row a SOP instance UID: the eligible copy where there is one, else the first by path.
-- Caveat: an empty tag is NULL here. A film without a study UID counts as a study of its own,
-- under its SOP instance UID, so that it can be listed.
-- Only instances with several copies are sorted; they are found by a hash (see manifest.sql).
with repeated as (
    select hash(sop_instance_uid) as uid_hash
    from manifest
    where sop_instance_uid <> ''
    group by uid_hash
    having count(*) > 1
),

further_copies as (
    select
        manifest.archive_root,
        manifest.archive_path
    from manifest
    semi join repeated on hash(manifest.sop_instance_uid) = repeated.uid_hash
    where manifest.sop_instance_uid <> ''
    qualify
        row_number() over (
            partition by manifest.sop_instance_uid
            order by
                manifest.eligible desc,
                manifest.archive_root asc,
                manifest.archive_path asc
        ) > 1
)

select
    manifest.* replace (
        coalesce(
            nullif(manifest.study_instance_uid, ''), manifest.sop_instance_uid
        ) as study_instance_uid,
        nullif(manifest.patient_id, '') as patient_id,
        nullif(manifest.issuer_of_patient_id, '') as issuer_of_patient_id,
        nullif(manifest.accession_number, '') as accession_number,
        nullif(manifest.issuer_of_accession_number, '') as issuer_of_accession_number
    )
from manifest
anti join further_copies
    on
        manifest.archive_root = further_copies.archive_root
        and manifest.archive_path = further_copies.archive_path
where manifest.sop_instance_uid <> ''
