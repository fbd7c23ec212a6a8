-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    alarm_id,
    device_id,
    raised_at,
    cleared_at,
    alarm_kind,
    outcome,
    updated_at,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_fire_detection__fire_alarm') }}
where not _is_superseded and _broken_rules is null
