-- Known reports: every version of every report that was imported, so that none is imported twice.
-- Grain: one row a content. `content_key` is the first 64 bits of its hash, which covers the report
-- id: of ten million reports, 80 MB.
select distinct ('0x' || left(content_sha256, 16))::ubigint as content_key
from parts.reports
