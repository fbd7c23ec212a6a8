-- made by `make generate` from sources/catalog; do not edit
{{ base_config('fire_detection__smoke_reading', keys=['device_id', 'observed_at'], within_day=true) }}

with landed as (

    {{ landed('fire_detection__smoke_reading', {
        'device_id': ['detectorId'],
        'observed_at': ['time'],
        'smoke_obscuration_pct': ['smokePct'],
        'temperature_celsius': ['tempC'],
        'battery_pct': ['battery'],
    }) }}

),

sent as (

    select
        {{ sent('device_id') }} as device_id,
        {{ sent('observed_at') }} as observed_at,
        {{ sent('smoke_obscuration_pct') }} as smoke_obscuration_pct,
        {{ sent('temperature_celsius') }} as temperature_celsius,
        {{ sent('battery_pct') }} as battery_pct,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        device_id,
        observed_at as observed_at__sent,
        {{ as_timestamp('observed_at') }} as observed_at,
        smoke_obscuration_pct as smoke_obscuration_pct__sent,
        {{ as_number('smoke_obscuration_pct') }} as smoke_obscuration_pct,
        temperature_celsius as temperature_celsius__sent,
        {{ as_number('temperature_celsius') }} as temperature_celsius,
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
            ('smoke_obscuration_pct:required', "smoke_obscuration_pct__sent is null and _malformed is null"),
            ('smoke_obscuration_pct:type', "smoke_obscuration_pct__sent is not null and smoke_obscuration_pct is null"),
            ('smoke_obscuration_pct:minimum', "smoke_obscuration_pct < 0"),
            ('smoke_obscuration_pct:maximum', "smoke_obscuration_pct > 100"),
            ('temperature_celsius:type', "temperature_celsius__sent is not null and temperature_celsius is null"),
            ('temperature_celsius:minimum', "temperature_celsius < -30"),
            ('temperature_celsius:maximum', "temperature_celsius > 150"),
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
        smoke_obscuration_pct,
        temperature_celsius,
        battery_pct,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('observed_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['device_id', 'observed_at', 'smoke_obscuration_pct', 'temperature_celsius', 'battery_pct']) }}
