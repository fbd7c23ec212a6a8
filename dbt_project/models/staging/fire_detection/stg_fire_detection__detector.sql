-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    device_id,
    device_name_zh,
    community_code,
    building_code,
    location_zh,
    cadence_minutes,
    alarm_level_pct,
    installed_date,
    modified_at,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_fire_detection__detector') }}
where not _is_superseded and _broken_rules is null
