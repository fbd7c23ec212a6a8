-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    point_code,
    measured_date,
    community_name,
    settlement_mm,
    cumulative_mm,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_ground_collapse__settlement_reading') }}
where not _is_superseded and _broken_rules is not null
