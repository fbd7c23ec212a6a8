{#- What each gauge measured in a month, in each community it was registered in. -#}
{%- set touched_by = ['base_waterlogging__water_level', 'base_waterlogging__rain_gauge', 'int_devices_changed'] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='month', grain='month', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with hours as (

    select
        *,
        {{ month_of_date('hour_date') }} as month
    from {{ ref('fct_sensor_hour') }}
    where measure_id in ('water_level_m', 'rain_mm') and {{ is_touched(month_of_date('hour_date')) }}

)

select
    device_id,
    community_id,
    month,
    cast(sum(reading_count) as bigint) as reading_count,
    max(case when measure_id = 'water_level_m' then value_max end) as max_level_m,
    cast(sum(case when is_waterlogged then 1 when not is_waterlogged then 0 end) as bigint) as waterlogged_hour_count,
    sum(case when measure_id = 'rain_mm' then cast(value_sum as decimal(18, 6)) end) as rain_mm
from hours
group by device_id, community_id, month
