-- Studies: whose study it is and when it was made.
-- Grain: one row a study instance UID. `eligible`: it has a film that is screened. `only_reports`:
-- nothing of it is in the archive but structured reports, which may be about another study.
-- Caveat: what one instance leaves out, another tells. Instances of one study that disagree are a
-- PACS error; the smallest value is taken.
select
    coalesce(nullif(study_instance_uid, ''), sop_instance_uid) as study_instance_uid,
    min(nullif(patient_id, '')) as patient_id,
    min(nullif(issuer_of_patient_id, '')) as issuer_of_patient_id,
    min(nullif(accession_number, '')) as accession_number,
    min(nullif(issuer_of_accession_number, '')) as issuer_of_accession_number,
    min(study_date) as study_date,
    min(patient_age_years) as patient_age_years,
    min(nullif(patient_sex, '')) as patient_sex,
    min(nullif(institution_name, '')) as institution_name,
    min(nullif(station_name, '')) filter (where eligible) as station_name,
    bool_or(eligible) as eligible,
    bool_and(coalesce(upper(trim(modality)), '') = 'SR') as only_reports
from manifest
where sop_instance_uid <> ''
group by coalesce(nullif(study_instance_uid, ''), sop_instance_uid)
