with registered as (

    select
        device_id,
        device_name_zh,
        device_type,
        'waterlogging' as system,
        community_code,
        location_zh,
        cadence_minutes,
        alarm_level_m,
        cast(null as double) as alarm_level_pct,
        installed_date
    from {{ ref('stg_waterlogging__waterlogging_point') }}
    union all
    select
        device_id,
        device_name_zh,
        'smoke_detector' as device_type,
        'fire_detection' as system,
        community_code,
        location_zh,
        cadence_minutes,
        cast(null as double) as alarm_level_m,
        alarm_level_pct,
        installed_date
    from {{ ref('stg_fire_detection__detector') }}

),

community as (

    select * from {{ ref('community') }}

),

final as (

    select
        registered.device_id,
        registered.device_name_zh as name_zh,
        registered.device_type,
        registered.system,
        coalesce(community.merged_into_community_id, community.community_id) as community_id,
        registered.location_zh,
        registered.cadence_minutes,
        registered.alarm_level_m,
        registered.alarm_level_pct,
        registered.installed_date
    from registered
    left join community on registered.community_code = community.community_id

)

select * from final
