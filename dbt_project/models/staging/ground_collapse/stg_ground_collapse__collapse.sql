-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    collapse_code,
    community_name,
    location_zh,
    found_date,
    grade_text,
    length_m,
    width_m,
    depth_m,
    cause,
    casualty_count,
    measure_taken,
    mitigated_date,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_ground_collapse__collapse') }}
where not _is_superseded and _broken_rules is null
