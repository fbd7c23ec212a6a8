-- made by `make generate` from sources/catalog; do not edit
{{ base_config('waterlogging__water_level', keys=['device_id', 'observed_at'], within_day=true) }}

with landed as (

    {{ landed('waterlogging__water_level', {
        'device_id': ['refDevice'],
        'observed_at': ['dateObserved'],
        'water_level_m': ['waterLevel'],
        'battery_pct': ['batteryLevel'],
    }) }}

),

sent as (

    select
        {{ sent('device_id', payload='ngsi-ld') }} as device_id,
        {{ sent('observed_at', payload='ngsi-ld') }} as observed_at,
        {{ sent('water_level_m', payload='ngsi-ld') }} as water_level_m,
        {{ sent('battery_pct', payload='ngsi-ld') }} as battery_pct,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        device_id,
        observed_at as observed_at__sent,
        {{ as_timestamp('observed_at') }} as observed_at,
        water_level_m as water_level_m__sent,
        {{ as_number('water_level_m') }} as water_level_m,
        battery_pct as battery_pct__sent,
        {{ as_number('battery_pct') }} as battery_pct,
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
            ('water_level_m:required', "water_level_m__sent is null and _malformed is null"),
            ('water_level_m:type', "water_level_m__sent is not null and water_level_m is null"),
            ('water_level_m:minimum', "water_level_m < -0.5"),
            ('water_level_m:maximum', "water_level_m > 5"),
            ('battery_pct:type', "battery_pct__sent is not null and battery_pct is null"),
            ('battery_pct:minimum', "battery_pct < 0"),
            ('battery_pct:maximum', "battery_pct > 100"),
            ('observed_at:in_future', "observed_at > window_until + interval 1 day"),
            ('observed_at:too_late', "observed_at < window_since - interval 35 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        device_id,
        observed_at,
        water_level_m,
        battery_pct,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('observed_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['device_id', 'observed_at', 'water_level_m', 'battery_pct']) }}
