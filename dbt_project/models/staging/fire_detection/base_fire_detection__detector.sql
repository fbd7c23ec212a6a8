-- made by `make generate` from sources/catalog; do not edit
{{ base_config('fire_detection__detector', keys=['device_id'], version='modified_at') }}

with landed as (

    {{ landed('fire_detection__detector', {
        'device_id': ['detectorId'],
        'device_name_zh': ['name'],
        'community_code': ['communityCode'],
        'building_code': ['buildingCode'],
        'location_zh': ['locationName'],
        'cadence_minutes': ['cadenceMinutes'],
        'alarm_level_pct': ['alarmPct'],
        'installed_date': ['installedOn'],
        'modified_at': ['modifiedAt'],
    }) }}

),

sent as (

    select
        {{ sent('device_id') }} as device_id,
        {{ sent('device_name_zh') }} as device_name_zh,
        {{ sent('community_code') }} as community_code,
        {{ sent('building_code') }} as building_code,
        {{ sent('location_zh') }} as location_zh,
        {{ sent('cadence_minutes') }} as cadence_minutes,
        {{ sent('alarm_level_pct') }} as alarm_level_pct,
        {{ sent('installed_date') }} as installed_date,
        {{ sent('modified_at') }} as modified_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        device_id,
        device_name_zh,
        community_code,
        building_code,
        location_zh,
        cadence_minutes as cadence_minutes__sent,
        {{ as_integer('cadence_minutes') }} as cadence_minutes,
        alarm_level_pct as alarm_level_pct__sent,
        {{ as_number('alarm_level_pct') }} as alarm_level_pct,
        installed_date as installed_date__sent,
        {{ as_date('installed_date') }} as installed_date,
        modified_at as modified_at__sent,
        {{ as_timestamp('modified_at') }} as modified_at,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('device_id:required', "device_id is null and _malformed is null"),
            ('device_name_zh:required', "device_name_zh is null and _malformed is null"),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('building_code:pattern', "not " ~ re_like('building_code', '^[0-9]{19}$')),
            ('cadence_minutes:required', "cadence_minutes__sent is null and _malformed is null"),
            ('cadence_minutes:type', "cadence_minutes__sent is not null and cadence_minutes is null"),
            ('cadence_minutes:minimum', "cadence_minutes < 1"),
            ('cadence_minutes:maximum', "cadence_minutes > 1440"),
            ('alarm_level_pct:type', "alarm_level_pct__sent is not null and alarm_level_pct is null"),
            ('alarm_level_pct:minimum', "alarm_level_pct < 0"),
            ('alarm_level_pct:maximum', "alarm_level_pct > 100"),
            ('installed_date:type', "installed_date__sent is not null and installed_date is null"),
            ('modified_at:required', "modified_at__sent is null and _malformed is null"),
            ('modified_at:type', "modified_at__sent is not null and modified_at is null"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        device_id,
        device_name_zh,
        community_code,
        building_code,
        location_zh,
        cadence_minutes,
        alarm_level_pct,
        installed_date,
        modified_at,
        _load_id, _row, _broken_rules,
        {{ shanghai_day('window_until') }} as _day
    from judged

)

{{ added(['device_id', 'device_name_zh', 'community_code', 'building_code', 'location_zh', 'cadence_minutes', 'alarm_level_pct', 'installed_date', 'modified_at']) }}
