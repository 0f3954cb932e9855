-- Known files: what earlier nights know of one archive, so that a scan opens only what is new.
-- Grain: one row a path. Parameter: $archive_root.
select *
from manifest
where archive_root = $archive_root
