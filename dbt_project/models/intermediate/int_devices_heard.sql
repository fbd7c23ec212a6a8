{#-
  When each device was heard on a day: stretches without a gap of more than its silence limit, from the hours that hold readings. Silence
  over days follows from these rows alone. A gap within one clock hour is not looked at: it is shorter than any limit.
-#}
{%- set touched_by = [
    'base_waterlogging__water_level', 'base_waterlogging__rain_gauge', 'base_fire_detection__smoke_reading', 'int_devices_expected',
] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='heard_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with hours as (

    select
        device_id,
        hour_date,
        hour_at,
        min(first_at) as first_at,
        max(last_at) as last_at
    from {{ ref('int_readings_summed') }}
    where {{ is_touched('hour_date') }}
    group by device_id, hour_date, hour_at

),

expected as (

    select * from {{ ref('int_devices_expected') }}
    where {{ is_touched('_day') }}

),

followed as (

    select
        hours.*,
        expected.system,
        expected.silence_limit_minutes,
        lag(hours.last_at) over (partition by hours.device_id, hours.hour_date order by hours.hour_at) as previous_at
    from hours
    inner join expected on hours.device_id = expected.device_id and hours.hour_date = expected._day

),

measured as (

    select
        *,
        {{ minutes_between('previous_at', 'first_at') }} as gap_minutes
    from followed

),

numbered as (

    select
        *,
        sum(case when gap_minutes > silence_limit_minutes then 1 else 0 end) over (
            partition by device_id, hour_date order by hour_at rows between unbounded preceding and current row
        ) as stretch
    from measured

)

select
    device_id,
    system,
    hour_date as heard_date,
    min(first_at) as from_at,
    max(last_at) as until_at,
    max(case when gap_minutes <= silence_limit_minutes then gap_minutes end) as longest_gap_minutes
from numbered
group by device_id, system, hour_date, stretch
