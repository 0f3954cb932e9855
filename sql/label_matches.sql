-- Label matches: which films or studies of the archive each row of a labels file is about.
-- Grain: one row a row of the file and what it is about (`unit`: an instance where the file names
-- instances, else a study); a row that is about nothing here has one, without a unit. `reason` is
-- why a row cannot be used: `unmatched`, `ambiguous`, or `not_eligible: ` and all the reasons for
-- which the instances in question are not screened.
-- Parameters: $label_key (sop_instance_uid, study_instance_uid or accession_number),
-- $archive_roots (a list).
-- Reads the temporary table `label_rows`, which vfscreen.results.labels makes first.
-- Accession numbers match as in study_reports.sql: within their issuer; where either side names
-- none, only if a single study has the number, else the row is ambiguous.
-- Caveat: a file whose header could not be read has no UID, so its label is `unmatched`.
with places as materialized (
    select
        sop_instance_uid,
        coalesce(nullif(study_instance_uid, ''), sop_instance_uid) as study_instance_uid,
        nullif(accession_number, '') as accession_number,
        nullif(issuer_of_accession_number, '') as issuer,
        coalesce(upper(trim(modality)), '') = 'SR' as is_report,
        eligible,
        coalesce(failure_reason, exclusion_reason) as reason
    from manifest
    where
        list_contains($archive_roots::varchar[], archive_root)
        and sop_instance_uid <> ''
),

units as materialized (
    select
        case
            when $label_key = 'sop_instance_uid' then sop_instance_uid
            else study_instance_uid
        end as unit,
        min(accession_number) as accession_number,
        min(issuer) as issuer,
        bool_and(is_report) as only_reports,
        bool_or(eligible) as eligible,
        string_agg(distinct reason, ', ' order by reason) as reasons
    from places
    group by unit
),

by_uid as (
    select
        label_rows.line,
        units.unit
    from label_rows
    inner join units on label_rows.key = units.unit
    where $label_key <> 'accession_number'
),

-- Studies that have the accession number, whoever issued it.
candidates as materialized (
    select
        label_rows.line,
        units.unit,
        label_rows.issuer = units.issuer as same_issuer,
        label_rows.issuer is null or units.issuer is null as unsure,
        count(*) over (partition by label_rows.line) as studies
    from label_rows
    inner join units on label_rows.key = units.accession_number
    where
        $label_key = 'accession_number'
        and not units.only_reports
),

by_accession as (
    select
        line,
        unit
    from candidates
    where same_issuer or (unsure and studies = 1)
),

found as (
    select * from by_uid
    union all
    select * from by_accession
),

several as (
    select distinct line
    from candidates
    where unsure and studies > 1
)

select
    label_rows.line,
    found.unit,
    case
        when found.unit is null and several.line is not null then 'ambiguous'
        when found.unit is null then 'unmatched'
        when not units.eligible then 'not_eligible: ' || units.reasons
    end as reason
from label_rows
left join found on label_rows.line = found.line
left join units on found.unit = units.unit
left join several on label_rows.line = several.line
