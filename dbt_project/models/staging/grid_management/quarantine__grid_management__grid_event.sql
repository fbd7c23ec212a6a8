-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    event_id,
    incident_type_code,
    community_code,
    grid_code,
    title,
    description_text,
    location_text,
    reporter_name,
    reporter_phone,
    occurred_at,
    reported_at,
    accepted_at,
    closed_at,
    due_at,
    status,
    handling_department,
    attachments,
    updated_at,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_grid_management__grid_event') }}
where not _is_superseded and _broken_rules is not null
