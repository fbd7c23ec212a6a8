-- made by `make generate` from sources/catalog; do not edit
{{ config(materialized='view', schema='quality_internal') }}
-- depends_on: {{ ref('base_grid_management__grid_event') }}
-- depends_on: {{ ref('base_grid_management__resident') }}
-- depends_on: {{ ref('base_grid_management__household') }}
-- depends_on: {{ ref('base_grid_management__rented_housing') }}
-- depends_on: {{ ref('base_tax_filing__filing') }}
-- depends_on: {{ ref('base_waterlogging__water_level') }}
-- depends_on: {{ ref('base_waterlogging__rain_gauge') }}
-- depends_on: {{ ref('base_waterlogging__waterlogging_point') }}

select
    'grid_management' as system,
    'grid_event' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('grid_management__grid_event') }}
union all
select
    'grid_management' as system,
    'resident' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('grid_management__resident') }}
union all
select
    'grid_management' as system,
    'household' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('grid_management__household') }}
union all
select
    'grid_management' as system,
    'rented_housing' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('grid_management__rented_housing') }}
union all
select
    'tax_filing' as system,
    'filing' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('tax_filing__filing') }}
union all
select
    'waterlogging' as system,
    'water_level' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('waterlogging__water_level') }}
union all
select
    'waterlogging' as system,
    'rain_gauge' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('waterlogging__rain_gauge') }}
union all
select
    'waterlogging' as system,
    'waterlogging_point' as entity,
    load_id,
    window_since,
    window_until,
    landed_count,
    bytes,
    started_at,
    ended_at,
    is_demo,
    contract_version,
    added_columns,
    missing_columns
from {{ ledger_loads('waterlogging__waterlogging_point') }}
