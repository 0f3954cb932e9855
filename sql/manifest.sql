-- Manifest: what the last scan saw at each place of each archive.
-- Grain: one row an archive root and path. A file that has vanished keeps its last row.
select *
from parts.manifest
qualify
    row_number() over (
        partition by archive_root, archive_path
        order by scanned_at desc, run_id desc
    ) = 1
