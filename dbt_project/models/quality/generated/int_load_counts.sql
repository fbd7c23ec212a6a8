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
