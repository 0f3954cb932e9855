-- Instances: each DICOM instance once, however many copies of it lie in the archives.
-- Grain: one row a SOP instance UID: the eligible copy where there is one, else the first by path.
-- Caveat: an empty tag is NULL here. A film without a study UID counts as a study of its own,
-- under its SOP instance UID, so that it can be listed.
select
    * replace (
        coalesce(nullif(study_instance_uid, ''), sop_instance_uid) as study_instance_uid,
        nullif(patient_id, '') as patient_id,
        nullif(issuer_of_patient_id, '') as issuer_of_patient_id,
        nullif(accession_number, '') as accession_number,
        nullif(issuer_of_accession_number, '') as issuer_of_accession_number
    )
from manifest
where sop_instance_uid <> ''
qualify
    row_number() over (
        partition by sop_instance_uid
        order by eligible desc, archive_root asc, archive_path asc
    ) = 1
