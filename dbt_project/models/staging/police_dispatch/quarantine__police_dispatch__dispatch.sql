-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='quarantine', materialized='view') }}

select
    dispatch_id,
    case_type_code,
    community_code,
    location_text,
    caller_name,
    caller_phone,
    summary_text,
    received_at,
    dispatched_at,
    arrived_at,
    closed_at,
    status,
    call_channel,
    linked_record_code,
    change_number,
    _broken_rules,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_police_dispatch__dispatch') }}
where not _is_superseded and _broken_rules is not null
