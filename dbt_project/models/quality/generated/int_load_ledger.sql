-- made by `make generate` from sources/catalog; do not edit
{{ config(materialized='view', schema='quality_internal') }}
-- depends_on: {{ ref('base_fire_detection__smoke_reading') }}
-- depends_on: {{ ref('base_fire_detection__fire_alarm') }}
-- depends_on: {{ ref('base_fire_detection__detector') }}
-- depends_on: {{ ref('base_grid_management__grid_event') }}
-- depends_on: {{ ref('base_grid_management__resident') }}
-- depends_on: {{ ref('base_grid_management__household') }}
-- depends_on: {{ ref('base_grid_management__rented_housing') }}
-- depends_on: {{ ref('base_ground_collapse__collapse') }}
-- depends_on: {{ ref('base_ground_collapse__void_survey') }}
-- depends_on: {{ ref('base_ground_collapse__settlement_reading') }}
-- depends_on: {{ ref('base_police_dispatch__dispatch') }}
-- depends_on: {{ ref('base_police_dispatch__patrol_hours_day') }}
-- depends_on: {{ ref('base_tax_filing__filing') }}
-- depends_on: {{ ref('base_urban_management__service_request') }}
-- depends_on: {{ ref('base_urban_management__service') }}
-- depends_on: {{ ref('base_urban_management__falling_object') }}
-- depends_on: {{ ref('base_waterlogging__water_level') }}
-- depends_on: {{ ref('base_waterlogging__rain_gauge') }}
-- depends_on: {{ ref('base_waterlogging__waterlogging_point') }}

select
    'fire_detection' as system,
    'smoke_reading' as entity,
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
from {{ ledger_loads('fire_detection__smoke_reading') }}
union all
select
    'fire_detection' as system,
    'fire_alarm' as entity,
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
from {{ ledger_loads('fire_detection__fire_alarm') }}
union all
select
    'fire_detection' as system,
    'detector' as entity,
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
from {{ ledger_loads('fire_detection__detector') }}
union all
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
    'ground_collapse' as system,
    'collapse' as entity,
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
from {{ ledger_loads('ground_collapse__collapse') }}
union all
select
    'ground_collapse' as system,
    'void_survey' as entity,
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
from {{ ledger_loads('ground_collapse__void_survey') }}
union all
select
    'ground_collapse' as system,
    'settlement_reading' as entity,
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
from {{ ledger_loads('ground_collapse__settlement_reading') }}
union all
select
    'police_dispatch' as system,
    'dispatch' as entity,
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
from {{ ledger_loads('police_dispatch__dispatch') }}
union all
select
    'police_dispatch' as system,
    'patrol_hours_day' as entity,
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
from {{ ledger_loads('police_dispatch__patrol_hours_day') }}
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
    'urban_management' as system,
    'service_request' as entity,
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
from {{ ledger_loads('urban_management__service_request') }}
union all
select
    'urban_management' as system,
    'service' as entity,
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
from {{ ledger_loads('urban_management__service') }}
union all
select
    'urban_management' as system,
    'falling_object' as entity,
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
from {{ ledger_loads('urban_management__falling_object') }}
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
