-- Levels at the alarm level are few: stretches by day are what grows with the data, so that putting them together may look at all.
with shown_by_readings as (

    select * from {{ ref('int_levels_joined') }}
    where measure_id = 'water_level_m'

),

raised_by_device as (

    select * from {{ ref('stg_fire_detection__fire_alarm') }}

),

registered as (

    select * from {{ ref('int_devices_versioned') }}

),

alarm as (

    select
        system || ':' || {{ stable_id(['device_id', 'measure_id', 'first_at'], times=['first_at']) }} as alarm_id,
        system,
        device_id,
        community_id,
        'readings' as raised_by,
        'water_level' as alarm_kind,
        measure_id,
        first_at as raised_at,
        case when not is_open then last_at end as cleared_at,
        peak_value,
        alarm_level as threshold_value,
        reading_count,
        cast(null as {{ text_type() }}) as outcome
    from shown_by_readings
    union all
    select
        'fire_detection:' || raised.alarm_id as alarm_id,
        'fire_detection' as system,
        raised.device_id,
        registered.community_id,
        'device' as raised_by,
        raised.alarm_kind,
        cast(null as {{ text_type() }}) as measure_id,
        raised.raised_at,
        raised.cleared_at,
        cast(null as double) as peak_value,
        cast(null as double) as threshold_value,
        cast(null as bigint) as reading_count,
        raised.outcome
    from raised_by_device as raised
    left join registered
        on raised.device_id = registered.device_id
        and raised.raised_at >= registered.valid_from_at
        and raised.raised_at < registered.valid_to_at

)

select
    alarm_id,
    system,
    device_id,
    community_id,
    raised_by,
    alarm_kind,
    measure_id,
    raised_at,
    cleared_at,
    cleared_at is null as is_open,
    {{ minutes_between('raised_at', 'cleared_at') }} as duration_minutes,
    peak_value,
    threshold_value,
    reading_count,
    outcome,
    {{ shanghai_day('raised_at') }} as raised_date,
    {{ shanghai_month('raised_at') }} as raised_month
from alarm
