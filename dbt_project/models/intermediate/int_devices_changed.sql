-- The days whose hours a new registration changes, for `touched_by`: those of its device while it holds.
select distinct
    reading.hour_date as _day,
    version._build_id
from {{ ref('int_devices_versioned') }} as version
inner join {{ ref('int_readings_summed') }} as reading
    on version.device_id = reading.device_id
    and reading.hour_at >= version.valid_from_at
    and reading.hour_at < version.valid_to_at
