-- Flag candidates: studies that belong on the list, by what is known now.
-- Grain: one row a study. Parameters: $finding, $threshold (of the calibrated probability).
-- A study whose fracture is reported needs no list; one without any report has its own.
select *
from screened_studies
where
    finding = $finding
    and probability >= $threshold
    and report_status <> 'reported'
