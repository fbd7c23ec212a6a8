-- made by `make generate` from sources/catalog; do not edit
{{ base_config('waterlogging__rain_gauge', keys=['device_id', 'observed_at'], within_day=true) }}

with landed as (

    {{ landed('waterlogging__rain_gauge', {
        'device_id': ['refDevice'],
        'observed_at': ['dateObserved'],
        'rain_mm': ['precipitation'],
    }) }}

),

sent as (

    select
        {{ sent('device_id', payload='ngsi-ld') }} as device_id,
        {{ sent('observed_at', payload='ngsi-ld') }} as observed_at,
        {{ sent('rain_mm', payload='ngsi-ld') }} as rain_mm,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        device_id,
        observed_at as observed_at__sent,
        {{ as_timestamp('observed_at') }} as observed_at,
        rain_mm as rain_mm__sent,
        {{ as_number('rain_mm') }} as rain_mm,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('device_id:required', "device_id is null and _malformed is null"),
            ('observed_at:required', "observed_at__sent is null and _malformed is null"),
            ('observed_at:type', "observed_at__sent is not null and observed_at is null"),
            ('rain_mm:required', "rain_mm__sent is null and _malformed is null"),
            ('rain_mm:type', "rain_mm__sent is not null and rain_mm is null"),
            ('rain_mm:minimum', "rain_mm < 0"),
            ('rain_mm:maximum', "rain_mm > 60"),
            ('observed_at:in_future', "observed_at > window_until + interval 1 day"),
            ('observed_at:too_late', "observed_at < window_since - interval 35 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        device_id,
        observed_at,
        rain_mm,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('observed_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['device_id', 'observed_at', 'rain_mm']) }}
