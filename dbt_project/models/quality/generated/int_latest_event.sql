-- made by `make generate` from sources/catalog; do not edit
{{ config(materialized='view', schema='quality_internal') }}

select
    'grid_management' as system,
    'grid_event' as entity,
    max(occurred_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_grid_management__grid_event') }}
union all
select
    'grid_management' as system,
    'resident' as entity,
    max(updated_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_grid_management__resident') }}
union all
select
    'grid_management' as system,
    'household' as entity,
    max(updated_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_grid_management__household') }}
union all
select
    'grid_management' as system,
    'rented_housing' as entity,
    max(updated_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_grid_management__rented_housing') }}
union all
select
    'tax_filing' as system,
    'filing' as entity,
    max({{ from_shanghai('cast(filed_date as ' ~ ts_type() ~ ')') }}) as latest_event_at,
    false as is_steady
from {{ ref('stg_tax_filing__filing') }}
union all
select
    'waterlogging' as system,
    'water_level' as entity,
    max(observed_at) as latest_event_at,
    true as is_steady
from {{ ref('stg_waterlogging__water_level') }}
union all
select
    'waterlogging' as system,
    'rain_gauge' as entity,
    max(observed_at) as latest_event_at,
    true as is_steady
from {{ ref('stg_waterlogging__rain_gauge') }}
union all
select
    'waterlogging' as system,
    'waterlogging_point' as entity,
    max(modified_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_waterlogging__waterlogging_point') }}
