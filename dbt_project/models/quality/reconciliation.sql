-- landed is counted by the connector; the other three are counted in the base tables. None is derived from the others.
select
    ledger.system,
    ledger.entity,
    ledger.load_id,
    ledger.landed_count,
    coalesce(counted.staged_count, 0) as staged_count,
    coalesce(counted.quarantined_count, 0) as quarantined_count,
    coalesce(counted.superseded_count, 0) as superseded_count,
    ledger.landed_count - coalesce(counted.staged_count, 0) - coalesce(counted.quarantined_count, 0)
    - coalesce(counted.superseded_count, 0) as difference_count
from {{ ref('int_load_ledger') }} as ledger
left join {{ ref('int_load_counts') }} as counted
    on ledger.system = counted.system and ledger.entity = counted.entity and ledger.load_id = counted.load_id
