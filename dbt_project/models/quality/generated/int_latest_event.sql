-- made by `make generate` from sources/catalog; do not edit
{{ config(materialized='view', schema='quality_internal') }}

select
    'fire_detection' as system,
    'smoke_reading' as entity,
    max(observed_at) as latest_event_at,
    true as is_steady
from {{ ref('stg_fire_detection__smoke_reading') }}
where _day = (select max(_day) from {{ ledger_counts('fire_detection__smoke_reading') }} where staged_count > 0)
union all
select
    'fire_detection' as system,
    'fire_alarm' as entity,
    max(raised_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_fire_detection__fire_alarm') }}
where _day = (select max(_day) from {{ ledger_counts('fire_detection__fire_alarm') }} where staged_count > 0)
union all
select
    'fire_detection' as system,
    'detector' as entity,
    max(modified_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_fire_detection__detector') }}
union all
select
    'grid_management' as system,
    'grid_event' as entity,
    max(occurred_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_grid_management__grid_event') }}
where _day = (select max(_day) from {{ ledger_counts('grid_management__grid_event') }} where staged_count > 0)
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
    'ground_collapse' as system,
    'collapse' as entity,
    max({{ from_shanghai('cast(found_date as ' ~ ts_type() ~ ')') }}) as latest_event_at,
    false as is_steady
from {{ ref('stg_ground_collapse__collapse') }}
where _day = (select max(_day) from {{ ledger_counts('ground_collapse__collapse') }} where staged_count > 0)
union all
select
    'ground_collapse' as system,
    'void_survey' as entity,
    max({{ from_shanghai('cast(surveyed_date as ' ~ ts_type() ~ ')') }}) as latest_event_at,
    false as is_steady
from {{ ref('stg_ground_collapse__void_survey') }}
where _day = (select max(_day) from {{ ledger_counts('ground_collapse__void_survey') }} where staged_count > 0)
union all
select
    'ground_collapse' as system,
    'settlement_reading' as entity,
    max({{ from_shanghai('cast(measured_date as ' ~ ts_type() ~ ')') }}) as latest_event_at,
    false as is_steady
from {{ ref('stg_ground_collapse__settlement_reading') }}
where _day = (select max(_day) from {{ ledger_counts('ground_collapse__settlement_reading') }} where staged_count > 0)
union all
select
    'police_dispatch' as system,
    'dispatch' as entity,
    max(received_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_police_dispatch__dispatch') }}
where _day = (select max(_day) from {{ ledger_counts('police_dispatch__dispatch') }} where staged_count > 0)
union all
select
    'police_dispatch' as system,
    'patrol_hours_day' as entity,
    max({{ from_shanghai('cast(patrol_date as ' ~ ts_type() ~ ')') }}) as latest_event_at,
    false as is_steady
from {{ ref('stg_police_dispatch__patrol_hours_day') }}
where _day = (select max(_day) from {{ ledger_counts('police_dispatch__patrol_hours_day') }} where staged_count > 0)
union all
select
    'tax_filing' as system,
    'filing' as entity,
    max({{ from_shanghai('cast(filed_date as ' ~ ts_type() ~ ')') }}) as latest_event_at,
    false as is_steady
from {{ ref('stg_tax_filing__filing') }}
where _day = (select max(_day) from {{ ledger_counts('tax_filing__filing') }} where staged_count > 0)
union all
select
    'urban_management' as system,
    'service_request' as entity,
    max(requested_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_urban_management__service_request') }}
where _day = (select max(_day) from {{ ledger_counts('urban_management__service_request') }} where staged_count > 0)
union all
select
    'urban_management' as system,
    'service' as entity,
    max(cast(null as {{ ts_type() }})) as latest_event_at,
    false as is_steady
from {{ ref('stg_urban_management__service') }}
union all
select
    'urban_management' as system,
    'falling_object' as entity,
    max(detected_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_urban_management__falling_object') }}
where _day = (select max(_day) from {{ ledger_counts('urban_management__falling_object') }} where staged_count > 0)
union all
select
    'waterlogging' as system,
    'water_level' as entity,
    max(observed_at) as latest_event_at,
    true as is_steady
from {{ ref('stg_waterlogging__water_level') }}
where _day = (select max(_day) from {{ ledger_counts('waterlogging__water_level') }} where staged_count > 0)
union all
select
    'waterlogging' as system,
    'rain_gauge' as entity,
    max(observed_at) as latest_event_at,
    true as is_steady
from {{ ref('stg_waterlogging__rain_gauge') }}
where _day = (select max(_day) from {{ ledger_counts('waterlogging__rain_gauge') }} where staged_count > 0)
union all
select
    'waterlogging' as system,
    'waterlogging_point' as entity,
    max(modified_at) as latest_event_at,
    false as is_steady
from {{ ref('stg_waterlogging__waterlogging_point') }}
