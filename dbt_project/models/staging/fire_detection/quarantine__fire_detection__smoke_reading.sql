-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    device_id,
    observed_at,
    smoke_obscuration_pct,
    temperature_celsius,
    battery_pct,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_fire_detection__smoke_reading') }}
where not _is_superseded and _broken_rules is not null
