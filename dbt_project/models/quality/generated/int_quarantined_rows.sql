-- made by `make generate` from sources/catalog; do not edit
{{ config(materialized='view', schema='quality_internal') }}

select
    'fire_detection' as system,
    'smoke_reading' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__fire_detection__smoke_reading') }}
group by _day, _broken_rules
union all
select
    'fire_detection' as system,
    'fire_alarm' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__fire_detection__fire_alarm') }}
group by _day, _broken_rules
union all
select
    'fire_detection' as system,
    'detector' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__fire_detection__detector') }}
group by _day, _broken_rules
union all
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
    'ground_collapse' as system,
    'collapse' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__ground_collapse__collapse') }}
group by _day, _broken_rules
union all
select
    'ground_collapse' as system,
    'void_survey' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__ground_collapse__void_survey') }}
group by _day, _broken_rules
union all
select
    'ground_collapse' as system,
    'settlement_reading' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__ground_collapse__settlement_reading') }}
group by _day, _broken_rules
union all
select
    'police_dispatch' as system,
    'dispatch' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__police_dispatch__dispatch') }}
group by _day, _broken_rules
union all
select
    'police_dispatch' as system,
    'patrol_hours_day' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__police_dispatch__patrol_hours_day') }}
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
    'urban_management' as system,
    'service_request' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__urban_management__service_request') }}
group by _day, _broken_rules
union all
select
    'urban_management' as system,
    'service' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__urban_management__service') }}
group by _day, _broken_rules
union all
select
    'urban_management' as system,
    'falling_object' as entity,
    _day,
    _broken_rules,
    cast(count(*) as bigint) as row_count
from {{ ref('quarantine__urban_management__falling_object') }}
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
