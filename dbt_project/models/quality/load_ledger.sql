select
    system,
    entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version
from {{ ref('int_load_ledger') }}
