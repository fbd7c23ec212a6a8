-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    patrol_date,
    community_code,
    patrol_hours,
    officer_count,
    updated_at,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_police_dispatch__patrol_hours_day') }}
where not _is_superseded and _broken_rules is not null
