-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    device_id,
    device_name_zh,
    device_type,
    community_code,
    location_zh,
    cadence_minutes,
    alarm_level_m,
    installed_date,
    location,
    modified_at,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_waterlogging__waterlogging_point') }}
where not _is_superseded and _broken_rules is null
