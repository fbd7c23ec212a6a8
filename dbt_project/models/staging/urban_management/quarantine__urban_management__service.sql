-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    service_code,
    service_name,
    description_text,
    has_metadata,
    service_type,
    service_group,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_urban_management__service') }}
where not _is_superseded and _broken_rules is not null
