-- made by `make generate` from sources/catalog; do not edit
{{ base_config('fire_detection__fire_alarm', keys=['alarm_id'], version='updated_at') }}

with landed as (

    {{ landed('fire_detection__fire_alarm', {
        'alarm_id': ['alarmId'],
        'device_id': ['detectorId'],
        'raised_at': ['raisedAt'],
        'cleared_at': ['clearedAt'],
        'alarm_kind': ['kind'],
        'outcome': ['outcome'],
        'updated_at': ['updatedAt'],
    }) }}

),

sent as (

    select
        {{ sent('alarm_id') }} as alarm_id,
        {{ sent('device_id') }} as device_id,
        {{ sent('raised_at') }} as raised_at,
        {{ sent('cleared_at') }} as cleared_at,
        {{ sent('alarm_kind') }} as alarm_kind,
        {{ sent('outcome') }} as outcome,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        alarm_id,
        device_id,
        raised_at as raised_at__sent,
        {{ as_timestamp('raised_at') }} as raised_at,
        cleared_at as cleared_at__sent,
        {{ as_timestamp('cleared_at') }} as cleared_at,
        alarm_kind,
        outcome,
        updated_at as updated_at__sent,
        {{ as_timestamp('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('alarm_id:required', "alarm_id is null and _malformed is null"),
            ('alarm_id:pattern', "not " ~ re_like('alarm_id', '^FA[0-9]{8}$')),
            ('device_id:required', "device_id is null and _malformed is null"),
            ('raised_at:required', "raised_at__sent is null and _malformed is null"),
            ('raised_at:type', "raised_at__sent is not null and raised_at is null"),
            ('cleared_at:type', "cleared_at__sent is not null and cleared_at is null"),
            ('alarm_kind:required', "alarm_kind is null and _malformed is null"),
            ('alarm_kind:values', "alarm_kind not in ('smoke', 'heat', 'manual')"),
            ('outcome:values', "outcome not in ('fire', 'false_alarm', 'test')"),
            ('updated_at:required', "updated_at__sent is null and _malformed is null"),
            ('updated_at:type', "updated_at__sent is not null and updated_at is null"),
            ('raised_at:in_future', "raised_at > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        alarm_id,
        device_id,
        raised_at,
        cleared_at,
        alarm_kind,
        outcome,
        updated_at,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('raised_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['alarm_id', 'device_id', 'raised_at', 'cleared_at', 'alarm_kind', 'outcome', 'updated_at']) }}
