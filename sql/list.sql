-- List: the first rows of the ranked list, as a nurse asks for them.
-- Grain: one row a patient. Parameters: $capacity; $since (a date, or NULL); $statuses (empty: the
-- unreported list; `no_report` names the list of studies that have no report yet).
select flagged.*
from flagged
inner join settings on flagged.finding = settings.finding
where
    ($since::date is null or flagged.study_date >= $since::date)
    and case
        when len($statuses::varchar[]) = 0 then flagged.list = 'unreported'
        else list_contains($statuses::varchar[], flagged.report_status)
    end
order by flagged.list desc, flagged.rank
limit $capacity
