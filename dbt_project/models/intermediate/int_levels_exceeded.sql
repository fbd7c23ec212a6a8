{#-
  Stretches of readings at or above the alarm level registered at their time, within one day: readings further apart than an hour, or
  than two cadences, are of different stretches. int_levels_joined puts together what midnight cut.
-#}
{%- set measures = [
    ('stg_waterlogging__water_level', 'water_level_m', 'alarm_level_m'),
    ('stg_fire_detection__smoke_reading', 'smoke_obscuration_pct', 'alarm_level_pct'),
] -%}
{%- set touched_by = ['base_waterlogging__water_level', 'base_fire_detection__smoke_reading', 'int_devices_changed'] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='exceeded_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with registered as (

    select * from {{ ref('int_devices_versioned') }}

),

reading as (
    {% for staging, measure, alarm_level in measures %}
    select
        reading.device_id,
        registered.system,
        registered.community_id,
        '{{ measure }}' as measure_id,
        reading._day as exceeded_date,
        reading.observed_at,
        reading.{{ measure }} as value,
        registered.{{ alarm_level }} as alarm_level,
        greatest(60, 2 * registered.cadence_minutes) as gap_limit_minutes
    from {{ ref(staging) }} as reading
    inner join registered
        on reading.device_id = registered.device_id
        and reading.observed_at >= registered.valid_from_at
        and reading.observed_at < registered.valid_to_at
        and reading.{{ measure }} >= registered.{{ alarm_level }}
    where {{ is_touched('reading._day') }}
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
),

followed as (

    select
        *,
        lag(observed_at) over (partition by device_id, measure_id, exceeded_date order by observed_at) as previous_at
    from reading

),

numbered as (

    select
        *,
        sum(case when {{ minutes_between('previous_at', 'observed_at') }} > gap_limit_minutes then 1 else 0 end) over (
            partition by device_id, measure_id, exceeded_date order by observed_at rows between unbounded preceding and current row
        ) as stretch
    from followed

),

ranked as (

    select
        *,
        row_number() over (partition by device_id, measure_id, exceeded_date, stretch order by observed_at) as position
    from numbered

)

select
    device_id,
    system,
    measure_id,
    exceeded_date,
    max(case when position = 1 then community_id end) as community_id,
    max(case when position = 1 then alarm_level end) as alarm_level,
    max(gap_limit_minutes) as gap_limit_minutes,
    min(observed_at) as first_at,
    min(case when position = 2 then observed_at end) as second_at,
    max(observed_at) as last_at,
    max(value) as peak_value,
    count(*) as reading_count
from ranked
group by device_id, system, measure_id, exceeded_date, stretch
