-- Audit counts: what was drawn and read of each stratum; all that an estimate needs.
-- Grain: one row a stratum. Parameter: $audit_id.
-- Reference: Horvitz and Thompson (1952), J Am Stat Assoc 47:663: each study counts one over its
-- inclusion probability, which is sampled / studies of its stratum.
select
    above,
    report_status,
    any_value(stratum_studies) as studies,
    count(*) as sampled,
    count(*) filter (where reading = 'yes') as with_finding,
    count(*) filter (where reading = 'no') as without,
    count(*) filter (where reading = 'unclear') as unclear,
    count(*) filter (where reading is null) as unread
from audited_studies
where audit_id = $audit_id
group by above, report_status
order by above desc, report_status
