-- made by `make generate` from sources/catalog; do not edit
{{ base_config('waterlogging__waterlogging_point', keys=['device_id'], version='modified_at') }}

with landed as (

    {{ landed('waterlogging__waterlogging_point', {
        'device_id': ['id'],
        'device_name_zh': ['name'],
        'device_type': ['deviceType'],
        'community_code': ['communityCode'],
        'location_zh': ['locationName'],
        'cadence_minutes': ['cadenceMinutes'],
        'alarm_level_m': ['alarmLevel'],
        'installed_date': ['dateInstalled'],
        'location': ['location'],
        'modified_at': ['dateModified'],
    }) }}

),

sent as (

    select
        {{ sent('device_id', payload='ngsi-ld') }} as device_id,
        {{ sent('device_name_zh', payload='ngsi-ld') }} as device_name_zh,
        {{ sent('device_type', payload='ngsi-ld') }} as device_type,
        {{ sent('community_code', payload='ngsi-ld') }} as community_code,
        {{ sent('location_zh', payload='ngsi-ld') }} as location_zh,
        {{ sent('cadence_minutes', payload='ngsi-ld') }} as cadence_minutes,
        {{ sent('alarm_level_m', payload='ngsi-ld') }} as alarm_level_m,
        {{ sent('installed_date', payload='ngsi-ld') }} as installed_date,
        location,
        {{ sent('modified_at', payload='ngsi-ld') }} as modified_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        device_id,
        device_name_zh,
        device_type,
        community_code,
        location_zh,
        cadence_minutes as cadence_minutes__sent,
        {{ as_integer('cadence_minutes') }} as cadence_minutes,
        alarm_level_m as alarm_level_m__sent,
        {{ as_number('alarm_level_m') }} as alarm_level_m,
        installed_date as installed_date__sent,
        {{ as_date('installed_date') }} as installed_date,
        location,
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
            ('device_type:required', "device_type is null and _malformed is null"),
            ('device_type:values', "device_type not in ('water_level', 'rain_gauge')"),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('cadence_minutes:required', "cadence_minutes__sent is null and _malformed is null"),
            ('cadence_minutes:type', "cadence_minutes__sent is not null and cadence_minutes is null"),
            ('cadence_minutes:minimum', "cadence_minutes < 1"),
            ('cadence_minutes:maximum', "cadence_minutes > 1440"),
            ('alarm_level_m:type', "alarm_level_m__sent is not null and alarm_level_m is null"),
            ('alarm_level_m:minimum', "alarm_level_m < 0"),
            ('alarm_level_m:maximum', "alarm_level_m > 5"),
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
        device_type,
        community_code,
        location_zh,
        cadence_minutes,
        alarm_level_m,
        installed_date,
        location,
        modified_at,
        _load_id, _row, _broken_rules,
        {{ shanghai_day('window_until') }} as _day
    from judged

)

{{ added(['device_id', 'device_name_zh', 'device_type', 'community_code', 'location_zh', 'cadence_minutes', 'alarm_level_m', 'installed_date', 'location', 'modified_at']) }}
