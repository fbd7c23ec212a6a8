-- The days on which readings of a device are expected, as far as its system has reached, with what was registered at their start.
select
    version.device_id,
    version.system,
    version.device_type,
    version.community_id,
    version.cadence_minutes,
    {{ silence_limit_minutes('version.cadence_minutes') }} as silence_limit_minutes,
    day._day,
    greatest(day.start_at, version.expected_from_at) as from_at,
    day.until_at,
    day.until_at = day.start_at + interval 24 hour as is_whole,
    greatest(day._build_id, version._build_id) as _build_id
from {{ ref('int_days_reached') }} as day
inner join {{ ref('int_devices_versioned') }} as version
    on day.system = version.system
    and day.start_at >= version.valid_from_at
    and day.start_at < version.valid_to_at
    and day.until_at > version.expected_from_at
