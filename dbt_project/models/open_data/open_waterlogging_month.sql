{{ config(alias='waterlogging_month') }}
with point as (

    select
        device_id,
        name_zh,
        community_id,
        cadence_minutes,
        installed_date
    from {{ ref('dim_device') }}
    where device_type = 'water_level' and community_id is not null

),

community as (

    select
        community.community_id,
        community.name_zh as community_zh,
        community.subdistrict_id,
        subdistrict.name_zh as subdistrict_zh
    from {{ ref('dim_community') }} as community
    inner join {{ ref('dim_subdistrict') }} as subdistrict on community.subdistrict_id = subdistrict.subdistrict_id

),

measured as (

    select * from {{ ref('int_gauges_summed') }}

),

data_start as (

    select min(hour_date) as start_date from {{ ref('fct_sensor_hour') }} where measure_id in ('water_level_m', 'rain_mm')

),

month as (

    select
        month,
        min(date_day) as first_date,
        max(date_day) as last_date
    from {{ ref('dim_date') }}
    group by month
    having max(date_day) < {{ shanghai_day(as_of()) }}

),

-- Rain of a point's community: the mean of its rain gauges; where it has none, that of the subdistrict, then of the district.
rain_by_gauge as (

    select
        measured.month,
        measured.community_id,
        community.subdistrict_id,
        measured.rain_mm
    from measured
    left join community on measured.community_id = community.community_id
    where measured.rain_mm is not null

),

rain_in_community as (

    select month, community_id, cast(sum(rain_mm) as double) / count(*) as rain_mm from rain_by_gauge group by month, community_id

),

rain_in_subdistrict as (

    select month, subdistrict_id, cast(sum(rain_mm) as double) / count(*) as rain_mm from rain_by_gauge group by month, subdistrict_id

),

rain_in_district as (

    select month, cast(sum(rain_mm) as double) / count(*) as rain_mm from rain_by_gauge group by month

),

by_point as (

    select
        device_id,
        month,
        sum(reading_count) as reading_count,
        max(max_level_m) as max_level_m,
        sum(waterlogged_hour_count) as waterlogged_hour_count
    from measured
    group by device_id, month

),

-- The part of the month in which readings can be expected: since the point was installed and since there is telemetry at all.
expected as (

    select
        month.month,
        point.device_id,
        point.name_zh,
        point.community_id,
        point.cadence_minutes,
        greatest(month.first_date, data_start.start_date, coalesce(point.installed_date, month.first_date)) as from_date,
        month.last_date
    from month
    cross join data_start
    cross join point
    where month.last_date >= data_start.start_date
        and month.last_date >= coalesce(point.installed_date, month.last_date)

),

final as (

    select
        expected.month,
        expected.device_id,
        expected.name_zh as point_zh,
        expected.community_id,
        community.community_zh,
        community.subdistrict_zh,
        {{ rounded('coalesce(in_community.rain_mm, in_subdistrict.rain_mm, in_district.rain_mm)', 1) }} as rain_mm,
        by_point.max_level_m,
        cast(coalesce(by_point.waterlogged_hour_count, 0) as bigint) as waterlogged_hour_count,
        {{ rounded(
            'least(cast(coalesce(by_point.reading_count, 0) as double) * expected.cadence_minutes * 100 / (('
            ~ dbt.datediff('expected.from_date', 'expected.last_date', 'day') ~ ' + 1) * 1440), 100)', 1
        ) }} as available_pct
    from expected
    inner join community on expected.community_id = community.community_id
    left join by_point on expected.month = by_point.month and expected.device_id = by_point.device_id
    left join rain_in_community as in_community
        on expected.month = in_community.month and expected.community_id = in_community.community_id
    left join rain_in_subdistrict as in_subdistrict
        on expected.month = in_subdistrict.month and community.subdistrict_id = in_subdistrict.subdistrict_id
    left join rain_in_district as in_district on expected.month = in_district.month

)

select * from final
