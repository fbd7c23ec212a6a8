{%- set touched_by = [
    'base_waterlogging__water_level', 'base_waterlogging__rain_gauge', 'base_fire_detection__smoke_reading', 'int_devices_expected',
] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='day_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with expected as (

    select * from {{ ref('int_devices_expected') }}
    where {{ is_touched('_day') }}

),

hours as (

    select * from {{ ref('int_readings_summed') }}
    where {{ is_touched('hour_date') }}

),

-- A reading may hold several measures; it is one reading.
counted_by_hour as (

    select
        device_id,
        hour_date,
        hour_at,
        max(reading_count) as reading_count,
        max(last_at) as last_at,
        min(battery_pct_min) as battery_pct_min
    from hours
    group by device_id, hour_date, hour_at

),

counted as (

    select
        device_id,
        hour_date,
        sum(reading_count) as reading_count,
        max(last_at) as last_at,
        min(battery_pct_min) as battery_pct_min
    from counted_by_hour
    group by device_id, hour_date

),

-- Nought is where rain, smoke and a dry gauge rest.
measure_day as (

    select
        device_id,
        hour_date,
        measure_id,
        count(*) as hour_count,
        min(value_min) as value_min,
        max(value_max) as value_max
    from hours
    group by device_id, hour_date, measure_id

),

varied as (

    select
        device_id,
        hour_date,
        max(hour_count) as hour_count,
        min(case when hour_count >= 20 and value_min = value_max and value_max <> 0 then measure_id end) as flat_measure_id
    from measure_day
    group by device_id, hour_date

),

heard as (

    select
        device_id,
        heard_date,
        from_at,
        until_at,
        longest_gap_minutes,
        lag(until_at) over (partition by device_id, heard_date order by from_at) as previous_at,
        lead(from_at) over (partition by device_id, heard_date order by from_at) as next_at
    from {{ ref('int_devices_heard') }}
    where {{ is_touched('heard_date') }}

),

-- The edges of a day count as far as the system has reached.
silences as (

    select
        expected.device_id,
        expected._day,
        max(
            greatest(
                {{ minutes_between('coalesce(heard.previous_at, expected.from_at)', 'coalesce(heard.from_at, expected.until_at)') }},
                coalesce(heard.longest_gap_minutes, 0),
                case when heard.next_at is null then {{ minutes_between('coalesce(heard.until_at, expected.from_at)', 'expected.until_at') }} else 0 end,
                0
            )
        ) as longest_silence_minutes
    from expected
    left join heard on expected.device_id = heard.device_id and expected._day = heard.heard_date
    group by expected.device_id, expected._day

),

final as (

    select
        expected.device_id,
        expected._day as day_date,
        expected.system,
        expected.device_type,
        expected.community_id,
        expected.is_whole,
        cast(floor({{ minutes_between('expected.from_at', 'expected.until_at') }} / expected.cadence_minutes) as bigint) as expected_count,
        cast(coalesce(counted.reading_count, 0) as bigint) as reading_count,
        silences.longest_silence_minutes,
        silences.longest_silence_minutes > expected.silence_limit_minutes
        or (expected.is_whole and counted.reading_count is null) as is_silent,
        case when expected.is_whole and varied.hour_count >= 20 then varied.flat_measure_id is not null end as is_flatline,
        case when expected.is_whole then flat.measure_id end as flatline_measure_id,
        case when expected.is_whole then cast(flat.value_max as double) end as flatline_value,
        counted.battery_pct_min,
        counted.last_at as last_reading_at
    from expected
    inner join silences on expected.device_id = silences.device_id and expected._day = silences._day
    left join counted on expected.device_id = counted.device_id and expected._day = counted.hour_date
    left join varied on expected.device_id = varied.device_id and expected._day = varied.hour_date
    left join measure_day as flat
        on varied.device_id = flat.device_id and varied.hour_date = flat.hour_date and varied.flat_measure_id = flat.measure_id

)

select
    device_id,
    day_date,
    system,
    device_type,
    community_id,
    is_whole,
    expected_count,
    reading_count,
    case when expected_count > 0 then least(cast(reading_count as double) * 100 / expected_count, 100) end as availability_pct,
    longest_silence_minutes,
    is_silent,
    is_flatline,
    flatline_measure_id,
    flatline_value,
    battery_pct_min,
    last_reading_at
from final
