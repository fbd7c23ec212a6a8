-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    household_code,
    address_text,
    building_code,
    room_code,
    member_count,
    is_rented,
    community_code,
    grid_code,
    updated_at,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_grid_management__household') }}
where not _is_superseded and _broken_rules is null
