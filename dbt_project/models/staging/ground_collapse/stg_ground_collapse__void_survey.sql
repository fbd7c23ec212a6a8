-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    void_code,
    community_name,
    location_zh,
    surveyed_date,
    grade_text,
    depth_m,
    area_m2,
    treated_date,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_ground_collapse__void_survey') }}
where not _is_superseded and _broken_rules is null
