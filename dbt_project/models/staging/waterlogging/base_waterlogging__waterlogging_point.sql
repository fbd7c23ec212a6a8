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
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when device_id is null and _malformed is null then 'device_id:required' end,
            case when device_name_zh is null and _malformed is null then 'device_name_zh:required' end,
            case when device_type is null and _malformed is null then 'device_type:required' end,
            case when device_type not in ('water_level', 'rain_gauge') then 'device_type:values' end,
            case when community_code is null and _malformed is null then 'community_code:required' end,
            case when not {{ re_like('community_code', '^[0-9]{12}$') }} then 'community_code:pattern' end,
            case when cadence_minutes__sent is null and _malformed is null then 'cadence_minutes:required' end,
            case when cadence_minutes__sent is not null and cadence_minutes is null then 'cadence_minutes:type' end,
            case when cadence_minutes < 1 then 'cadence_minutes:minimum' end,
            case when cadence_minutes > 1440 then 'cadence_minutes:maximum' end,
            case when alarm_level_m__sent is not null and alarm_level_m is null then 'alarm_level_m:type' end,
            case when alarm_level_m < 0 then 'alarm_level_m:minimum' end,
            case when alarm_level_m > 5 then 'alarm_level_m:maximum' end,
            case when installed_date__sent is not null and installed_date is null then 'installed_date:type' end,
            case when modified_at__sent is null and _malformed is null then 'modified_at:required' end,
            case when modified_at__sent is not null and modified_at is null then 'modified_at:type' end
        ), '') as _broken_rules
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
