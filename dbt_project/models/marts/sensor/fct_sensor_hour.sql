{%- set touched_by = [
    'base_waterlogging__water_level', 'base_waterlogging__rain_gauge', 'base_fire_detection__smoke_reading', 'int_devices_changed',
] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='hour_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with hours as (

    select * from {{ ref('int_readings_summed') }}
    where {{ is_touched('hour_date') }}

),

registered as (

    select * from {{ ref('int_devices_versioned') }}

),

final as (

    select
        hours.device_id,
        hours.measure_id,
        hours.hour_at,
        hours.hour_date,
        hours.reading_count,
        case
            when registered.cadence_minutes <= 60 then cast(floor(60.0 / registered.cadence_minutes) as bigint)
            when registered.cadence_minutes > 60 then 1
        end as expected_count,
        cast(hours.value_sum as double) / hours.reading_count as value_mean,
        cast(hours.value_min as double) as value_min,
        cast(hours.value_max as double) as value_max,
        cast(hours.value_sum as double) as value_sum,
        case when hours.measure_id = 'water_level_m' then hours.value_max >= registered.alarm_level_m end as is_waterlogged,
        registered.community_id
    from hours
    left join registered
        on hours.device_id = registered.device_id
        and hours.hour_at >= registered.valid_from_at
        and hours.hour_at < registered.valid_to_at

)

select * from final
