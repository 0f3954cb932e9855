-- Failed files: the paths behind the failures, for a person at a terminal.
-- Grain: one row a failure. Caveat: paths may name patients.
select
    failures.stage,
    failures.reason,
    failures.nights_tried,
    failures.failed_at,
    manifest.archive_path
from failures
left join manifest on failures.instance_key = manifest.instance_key
order by failures.failed_at desc, manifest.archive_path asc
