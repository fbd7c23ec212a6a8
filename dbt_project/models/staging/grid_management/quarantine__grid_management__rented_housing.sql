-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    rented_housing_id,
    household_code,
    landlord_name,
    landlord_phone,
    room_count,
    tenant_count,
    fire_checked_date,
    community_code,
    grid_code,
    updated_at,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_grid_management__rented_housing') }}
where not _is_superseded and _broken_rules is not null
