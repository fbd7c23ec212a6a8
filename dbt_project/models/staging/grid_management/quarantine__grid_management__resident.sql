-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    resident_id,
    resident_name,
    id_number,
    phone,
    gender,
    birth_date,
    residence_type,
    household_code,
    community_code,
    grid_code,
    updated_at,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_grid_management__resident') }}
where not _is_superseded and _broken_rules is not null
