-- Studies: whose study it is and when it was made.
-- Grain: one row a study instance UID, told by its first eligible film (by SOP instance UID), or
-- its first instance where none is eligible.
-- Caveat: films of one study that disagree about the patient are a PACS error; the first is taken.
select
    study_instance_uid,
    patient_id,
    issuer_of_patient_id,
    accession_number,
    issuer_of_accession_number,
    study_date,
    patient_age_years,
    patient_sex,
    institution_name,
    eligible
from instances
qualify
    row_number() over (
        partition by study_instance_uid
        order by eligible desc, sop_instance_uid asc
    ) = 1
