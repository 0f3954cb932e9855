-- Reporting by group: the funnel, what reports say of likely fractures, and the reporting rate, by
-- month, site, radiographer room and report author's role.
-- Parameters: $finding, $threshold (what counts as likely).
-- Grain: one row a `grouped_by` (`month`, `institution_name`, `station_name`, `author_role`) and
-- `value`; empty: not stated.
-- Likely studies by report status, and the rate among those that have a report; films found, of
-- which eligible, of which screened; studies screened, flagged (on a list now) and reviewed. The
-- room is that of the study's eligible films (of several, the first by name); the role that of its
-- last report which states one, so it has no films.
-- Caveat: the rate is biased as that of reporting_rate.sql is: too high, since reports and model
-- both miss the subtle fractures, and too low by the model's false positives. Small groups scatter:
-- a room with ten likely studies says nothing. Groups differ in their patients as much as in their
-- reporting, so this ranks nobody.
-- Reference: Chen et al. (2021), PLoS ONE 16(1):e0245992.
with films as materialized (
    select
        strftime(study_date, '%Y-%m') as study_month,
        nullif(institution_name, '') as institution_name,
        nullif(station_name, '') as station_name,
        count(*) as found,
        count(*) filter (where eligible) as eligible
    from manifest
    group by all
),

roles as (
    select
        study_reports.study_instance_uid,
        arg_max(
            reports.author_role, coalesce(reports.report_datetime, '-infinity'::timestamp)
        ) as author_role
    from study_reports
    inner join reports on study_reports.report_id = reports.report_id
    where reports.author_role is not null
    group by study_reports.study_instance_uid
),

screened as materialized (
    select
        strftime(studies.study_date, '%Y-%m') as study_month,
        studies.institution_name,
        studies.station_name,
        roles.author_role,
        study_findings.films,
        study_findings.report_status,
        study_findings.probability >= $threshold as likely,
        coalesce(flags_current.state = 'flagged', false) as flagged,
        reviews_current.study_instance_uid is not null as reviewed
    from study_findings
    inner join studies on study_findings.study_instance_uid = studies.study_instance_uid
    left join roles on study_findings.study_instance_uid = roles.study_instance_uid
    left join flags_current
        on
            study_findings.study_instance_uid = flags_current.study_instance_uid
            and study_findings.finding = flags_current.finding
    left join reviews_current
        on
            study_findings.study_instance_uid = reviews_current.study_instance_uid
            and study_findings.finding = reviews_current.finding
    where study_findings.finding = $finding
),

film_groups as (
    select
        case
            when grouping(study_month) = 0 then 'month'
            when grouping(institution_name) = 0 then 'institution_name'
            else 'station_name'
        end as grouped_by,
        coalesce(study_month, institution_name, station_name) as value,
        sum(found)::bigint as films_found,
        sum(eligible)::bigint as films_eligible
    from films
    group by grouping sets ((study_month), (institution_name), (station_name))
),

study_groups as (
    select
        case
            when grouping(study_month) = 0 then 'month'
            when grouping(institution_name) = 0 then 'institution_name'
            when grouping(station_name) = 0 then 'station_name'
            else 'author_role'
        end as grouped_by,
        coalesce(study_month, institution_name, station_name, author_role) as value,
        sum(films)::bigint as films_screened,
        count(*) as studies_screened,
        count(*) filter (where likely) as likely_studies,
        count(*) filter (where likely and report_status = 'no_report') as no_report,
        count(*) filter (where likely and report_status = 'reported') as reported,
        count(*) filter (where likely and report_status = 'uncertain') as uncertain,
        count(*) filter (where likely and report_status = 'ambiguous') as ambiguous,
        count(*) filter (where likely and report_status = 'denied') as denied,
        count(*) filter (where likely and report_status = 'not_mentioned') as not_mentioned,
        count(*) filter (where likely and report_status = 'reported')
        / nullif(
            count(*) filter (where likely and report_status <> 'no_report'), 0
        ) as reporting_rate,
        count(*) filter (where flagged) as studies_flagged,
        count(*) filter (where reviewed) as studies_reviewed
    from screened
    group by grouping sets ((study_month), (institution_name), (station_name), (author_role))
)

select
    coalesce(study_groups.grouped_by, film_groups.grouped_by) as grouped_by,
    coalesce(study_groups.value, film_groups.value) as value,
    coalesce(study_groups.likely_studies, 0) as likely_studies,
    study_groups.reporting_rate,
    coalesce(study_groups.reported, 0) as reported,
    coalesce(study_groups.uncertain, 0) as uncertain,
    coalesce(study_groups.ambiguous, 0) as ambiguous,
    coalesce(study_groups.denied, 0) as denied,
    coalesce(study_groups.not_mentioned, 0) as not_mentioned,
    coalesce(study_groups.no_report, 0) as no_report,
    film_groups.films_found,
    film_groups.films_eligible,
    coalesce(study_groups.films_screened, 0) as films_screened,
    coalesce(study_groups.studies_screened, 0) as studies_screened,
    coalesce(study_groups.studies_flagged, 0) as studies_flagged,
    coalesce(study_groups.studies_reviewed, 0) as studies_reviewed
from study_groups
full join film_groups
    on
        study_groups.grouped_by = film_groups.grouped_by
        and study_groups.value is not distinct from film_groups.value
order by
    list_position(
        ['month', 'institution_name', 'station_name', 'author_role'],
        coalesce(study_groups.grouped_by, film_groups.grouped_by)
    ),
    value nulls last
