-- made by `make generate` from sources/catalog; do not edit
{{ config(materialized='view', schema='quality_internal') }}

select
    'grid_management' as system,
    'grid_event' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__grid_management__grid_event') }}
group by _day, _broken_rules
union all
select
    'grid_management' as system,
    'resident' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__grid_management__resident') }}
group by _day, _broken_rules
union all
select
    'grid_management' as system,
    'household' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__grid_management__household') }}
group by _day, _broken_rules
union all
select
    'grid_management' as system,
    'rented_housing' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__grid_management__rented_housing') }}
group by _day, _broken_rules
union all
select
    'tax_filing' as system,
    'filing' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__tax_filing__filing') }}
group by _day, _broken_rules
union all
select
    'waterlogging' as system,
    'water_level' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__waterlogging__water_level') }}
group by _day, _broken_rules
union all
select
    'waterlogging' as system,
    'rain_gauge' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__waterlogging__rain_gauge') }}
group by _day, _broken_rules
union all
select
    'waterlogging' as system,
    'waterlogging_point' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__waterlogging__waterlogging_point') }}
group by _day, _broken_rules
