-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    device_id,
    observed_at,
    rain_mm,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_waterlogging__rain_gauge') }}
where not _is_superseded and _broken_rules is null
