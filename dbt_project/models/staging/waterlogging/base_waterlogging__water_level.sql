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
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when device_id is null and _malformed is null then 'device_id:required' end,
            case when observed_at__sent is null and _malformed is null then 'observed_at:required' end,
            case when observed_at__sent is not null and observed_at is null then 'observed_at:type' end,
            case when water_level_m__sent is null and _malformed is null then 'water_level_m:required' end,
            case when water_level_m__sent is not null and water_level_m is null then 'water_level_m:type' end,
            case when water_level_m < -0.5 then 'water_level_m:minimum' end,
            case when water_level_m > 5 then 'water_level_m:maximum' end,
            case when battery_pct__sent is not null and battery_pct is null then 'battery_pct:type' end,
            case when battery_pct < 0 then 'battery_pct:minimum' end,
            case when battery_pct > 100 then 'battery_pct:maximum' end,
            case when observed_at > window_until + interval 1 day then 'observed_at:in_future' end,
            case when observed_at < window_since - interval 35 day then 'observed_at:too_late' end
        ), '') as _broken_rules
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
