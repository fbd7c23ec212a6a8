-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    falling_object_id,
    building_code,
    detected_at,
    floor_estimate,
    object_kind,
    is_confirmed,
    handled_at,
    updated_at,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_urban_management__falling_object') }}
where not _is_superseded and _broken_rules is null
