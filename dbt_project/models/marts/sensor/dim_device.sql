with registered as (

    select * from {{ ref('stg_waterlogging__waterlogging_point') }}

),

community as (

    select * from {{ ref('community') }}

),

final as (

    select
        registered.device_id,
        registered.device_name_zh as name_zh,
        registered.device_type,
        'waterlogging' as system,
        coalesce(community.merged_into_community_id, community.community_id) as community_id,
        registered.location_zh,
        registered.cadence_minutes,
        registered.alarm_level_m,
        registered.installed_date
    from registered
    left join community on registered.community_code = community.community_id

)

select * from final
