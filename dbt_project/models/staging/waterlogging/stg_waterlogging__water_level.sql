-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    device_id,
    observed_at,
    water_level_m,
    battery_pct,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_waterlogging__water_level') }}
where not _is_superseded and _broken_rules is null
