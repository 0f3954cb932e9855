-- Manifest: what the last scan saw at each place of each archive.
-- Grain: one row an archive root and path. A file that has vanished keeps its last row.
-- Most paths have one row, so only the others are sorted. They are found by a hash, which may take
-- in a path too many but leaves none out.
with repeated as (
    select hash(archive_root, archive_path) as path_hash
    from parts.manifest
    group by path_hash
    having count(*) > 1
),

single as (
    select written.*
    from parts.manifest as written
    anti join repeated
        on hash(written.archive_root, written.archive_path) = repeated.path_hash
),

latest as (
    select written.*
    from parts.manifest as written
    semi join repeated
        on hash(written.archive_root, written.archive_path) = repeated.path_hash
    qualify
        row_number() over (
            partition by written.archive_root, written.archive_path
            order by written.scanned_at desc, written.run_id desc
        ) = 1
)

select * from single
union all
select * from latest
