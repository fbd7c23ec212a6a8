-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    service_request_id,
    service_code,
    status,
    status_notes,
    description_text,
    agency_responsible,
    requested_at,
    expected_at,
    updated_at,
    location_text,
    building_code,
    latitude,
    longitude,
    media_url,
    linked_record_code,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_urban_management__service_request') }}
where not _is_superseded and _broken_rules is not null
