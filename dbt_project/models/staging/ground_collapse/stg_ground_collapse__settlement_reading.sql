-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    point_code,
    measured_date,
    community_name,
    settlement_mm,
    cumulative_mm,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_ground_collapse__settlement_reading') }}
where not _is_superseded and _broken_rules is null
