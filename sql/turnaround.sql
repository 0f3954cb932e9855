-- Turn-around: how long after the film the first signed report was there.
-- Grain: one row a calendar year of the study, and one for all (no year): studies with an
-- eligible film that have a report which is neither a draft nor an addendum.
-- `both_times_known`: film and report both have a time of day; midnight sharp counts as none.
-- Hours are of those, without the ones reported `before_the_film`.
-- Caveat: a film's time is the modality's local time without a zone; a report's is UTC, or taken
-- for UTC where its source names no zone. Where the source names zones, all hours are off by the
-- site's offset: many reports before the film say so. What a source calls the report's time may be
-- that of dictation, of signature or of the last change.
-- Reference: DICOM PS3.3 C.7.2.1 (Study Time), PS3.5 6.2 (TM).
with films as (
    select
        coalesce(nullif(study_instance_uid, ''), sop_instance_uid) as study_instance_uid,
        min(study_date) as study_date,
        -- hhmmss, or hh:mm:ss as older devices write it.
        min(regexp_replace(study_time, '[^0-9.]', '', 'g')) as study_time
    from manifest
    where eligible and sop_instance_uid <> ''
    group by coalesce(nullif(study_instance_uid, ''), sop_instance_uid)
),

signed as (
    select
        study_reports.study_instance_uid,
        min(reports.report_datetime)
        filter (where reports.report_datetime <> date_trunc('day', reports.report_datetime))
            as reported_at
    from study_reports
    inner join reports on study_reports.report_id = reports.report_id
    where coalesce(reports.result_status, 'final') not in ('preliminary', 'addendum')
    group by study_reports.study_instance_uid
),

timed as (
    select
        extract(year from films.study_date) as study_year,
        date_diff(
            'second',
            try_strptime(
                strftime(films.study_date, '%Y%m%d')
                -- Noughts at the end go, so that midnight is empty, and come back.
                || rpad(left(nullif(rtrim(films.study_time, '0.'), ''), 6), 6, '0'),
                '%Y%m%d%H%M%S'
            ),
            signed.reported_at
        ) / 3600 as hours
    from films
    inner join signed on films.study_instance_uid = signed.study_instance_uid
)

select
    study_year,
    count(*) as reported_studies,
    count(hours) as both_times_known,
    count(*) filter (where hours < 0) as before_the_film,
    median(hours) filter (where hours >= 0) as median_hours,
    quantile_cont(hours, 0.9) filter (where hours >= 0) as hours_of_nine_in_ten,
    count(*) filter (where hours between 0 and 24)
    / nullif(count(*) filter (where hours >= 0), 0) as share_within_24_hours
from timed
group by grouping sets ((study_year), ())
order by study_year nulls first
