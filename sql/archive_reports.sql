-- Archive reports: the DICOM structured reports of one archive that nobody has read yet.
-- Grain: one row a SOP instance UID, newest study first. Parameters: $archive_root, $sr_classes
-- (SOP class UIDs), $transient_nights.
-- Read means: a report with that id was imported, or reading it failed for good or on
-- $transient_nights nights. A file that changed under its UID, against DICOM, is read again.
with documents as (
    select
        archive_root,
        archive_path,
        sop_instance_uid,
        content_fingerprint,
        study_date
    from manifest
    where
        archive_root = $archive_root
        and list_contains($sr_classes, sop_class_uid)
        and failure_reason is null
        and exclusion_reason is distinct from 'vanished'
    qualify
        row_number() over (
            partition by sop_instance_uid
            order by archive_path asc
        ) = 1
),

contents as (
    select
        sop_instance_uid,
        content_fingerprint,
        min(scanned_at) as seen_at,
        row_number() over (
            partition by sop_instance_uid
            order by min(scanned_at) asc
        ) as version
    from parts.manifest
    where list_contains($sr_classes, sop_class_uid)
    group by sop_instance_uid, content_fingerprint
),

imported as (
    select
        report_id,
        max(imported_at) as imported_at
    from parts.reports
    where source_format = 'sr'
    group by report_id
)

select
    documents.archive_root,
    documents.archive_path,
    documents.sop_instance_uid,
    documents.content_fingerprint
from documents
inner join contents
    on
        documents.sop_instance_uid = contents.sop_instance_uid
        and documents.content_fingerprint = contents.content_fingerprint
left join imported on documents.sop_instance_uid = imported.report_id
left join failures
    on
        failures.stage = 'reports'
        and documents.sop_instance_uid = failures.sop_instance_uid
        and documents.content_fingerprint = failures.content_fingerprint
where
    (
        imported.imported_at is null
        or (contents.version > 1 and imported.imported_at < contents.seen_at)
    )
    and (
        failures.instance_key is null
        or (failures.transient and failures.nights_tried < $transient_nights)
    )
order by documents.study_date desc nulls last, documents.archive_path asc
