-- What was registered for a device from when to when. The first registration holds for all earlier hours too.
with registered as (

    select
        *,
        row_number() over (partition by device_id order by registered_at) as position,
        lead(registered_at) over (partition by device_id order by registered_at) as next_registered_at
    from {{ ref('int_devices_registered') }}

)

select
    registered.device_id,
    registered.system,
    registered.device_type,
    registered.expected_from_at,
    case when registered.position = 1 then cast('1970-01-01' as {{ ts_type() }}) else registered.registered_at end as valid_from_at,
    coalesce(registered.next_registered_at, cast('9999-12-31' as {{ ts_type() }})) as valid_to_at,
    coalesce(community.merged_into_community_id, community.community_id) as community_id,
    registered.cadence_minutes,
    registered.alarm_level_m,
    registered.alarm_level_pct,
    registered._build_id
from registered
left join {{ ref('community') }} as community on registered.community_code = community.community_id
