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
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('fire_detection__smoke_reading') }}
group by load_id
union all
select
    'fire_detection' as system,
    'fire_alarm' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('fire_detection__fire_alarm') }}
group by load_id
union all
select
    'fire_detection' as system,
    'detector' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('fire_detection__detector') }}
group by load_id
union all
select
    'grid_management' as system,
    'grid_event' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('grid_management__grid_event') }}
group by load_id
union all
select
    'grid_management' as system,
    'resident' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('grid_management__resident') }}
group by load_id
union all
select
    'grid_management' as system,
    'household' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('grid_management__household') }}
group by load_id
union all
select
    'grid_management' as system,
    'rented_housing' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('grid_management__rented_housing') }}
group by load_id
union all
select
    'ground_collapse' as system,
    'collapse' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('ground_collapse__collapse') }}
group by load_id
union all
select
    'ground_collapse' as system,
    'void_survey' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('ground_collapse__void_survey') }}
group by load_id
union all
select
    'ground_collapse' as system,
    'settlement_reading' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('ground_collapse__settlement_reading') }}
group by load_id
union all
select
    'police_dispatch' as system,
    'dispatch' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('police_dispatch__dispatch') }}
group by load_id
union all
select
    'police_dispatch' as system,
    'patrol_hours_day' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('police_dispatch__patrol_hours_day') }}
group by load_id
union all
select
    'tax_filing' as system,
    'filing' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('tax_filing__filing') }}
group by load_id
union all
select
    'urban_management' as system,
    'service_request' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('urban_management__service_request') }}
group by load_id
union all
select
    'urban_management' as system,
    'service' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('urban_management__service') }}
group by load_id
union all
select
    'urban_management' as system,
    'falling_object' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('urban_management__falling_object') }}
group by load_id
union all
select
    'waterlogging' as system,
    'water_level' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('waterlogging__water_level') }}
group by load_id
union all
select
    'waterlogging' as system,
    'rain_gauge' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('waterlogging__rain_gauge') }}
group by load_id
union all
select
    'waterlogging' as system,
    'waterlogging_point' as entity,
    load_id,
    cast(sum(staged_count) as bigint) as staged_count,
    cast(sum(quarantined_count) as bigint) as quarantined_count,
    cast(sum(superseded_count) as bigint) as superseded_count
from {{ ledger_counts('waterlogging__waterlogging_point') }}
group by load_id
