-- Stretches at or above the alarm level, whole: what midnight cut is put together. One is open until its system has reached further than
-- the greatest gap between two of its readings.
with followed as (

    select
        *,
        lag(last_at) over (partition by device_id, measure_id order by first_at) as previous_at
    from {{ ref('int_levels_exceeded') }}

),

numbered as (

    select
        *,
        sum(case when previous_at is null or {{ minutes_between('previous_at', 'first_at') }} > gap_limit_minutes then 1 else 0 end) over (
            partition by device_id, measure_id order by first_at rows between unbounded preceding and current row
        ) as stretch
    from followed

),

ranked as (

    select
        *,
        row_number() over (partition by device_id, measure_id, stretch order by first_at) as position
    from numbered

),

joined as (

    select
        device_id,
        system,
        measure_id,
        max(case when position = 1 then community_id end) as community_id,
        max(case when position = 1 then alarm_level end) as alarm_level,
        max(gap_limit_minutes) as gap_limit_minutes,
        min(first_at) as first_at,
        least(min(second_at), min(case when position = 2 then first_at end)) as second_at,
        max(last_at) as last_at,
        max(peak_value) as peak_value,
        cast(sum(reading_count) as bigint) as reading_count
    from ranked
    group by device_id, system, measure_id, stretch

)

select
    joined.device_id,
    joined.system,
    joined.measure_id,
    joined.community_id,
    joined.alarm_level,
    joined.first_at,
    joined.second_at,
    joined.last_at,
    joined.peak_value,
    joined.reading_count,
    {{ minutes_between('joined.last_at', 'reached.reached_at') }} <= joined.gap_limit_minutes as is_open
from joined
inner join {{ ref('int_systems_reached') }} as reached on joined.system = reached.system
