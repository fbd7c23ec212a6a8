-- made by `make generate` from sources/catalog; do not edit
{{ base_config('urban_management__falling_object', keys=['falling_object_id'], version='updated_at') }}

with landed as (

    {{ landed('urban_management__falling_object', {
        'falling_object_id': ['id'],
        'building_code': ['address_id'],
        'detected_at': ['detected_datetime'],
        'floor_estimate': ['floor_estimate'],
        'object_kind': ['object_kind'],
        'is_confirmed': ['confirmed'],
        'handled_at': ['handled_datetime'],
        'updated_at': ['updated_datetime'],
    }) }}

),

sent as (

    select
        {{ sent('falling_object_id') }} as falling_object_id,
        {{ sent('building_code') }} as building_code,
        {{ sent('detected_at') }} as detected_at,
        {{ sent('floor_estimate') }} as floor_estimate,
        {{ sent('object_kind') }} as object_kind,
        {{ sent('is_confirmed') }} as is_confirmed,
        {{ sent('handled_at') }} as handled_at,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        falling_object_id,
        building_code,
        detected_at as detected_at__sent,
        {{ as_timestamp('detected_at') }} as detected_at,
        floor_estimate as floor_estimate__sent,
        {{ as_integer('floor_estimate') }} as floor_estimate,
        object_kind,
        is_confirmed as is_confirmed__sent,
        {{ as_boolean('is_confirmed') }} as is_confirmed,
        handled_at as handled_at__sent,
        {{ as_timestamp('handled_at') }} as handled_at,
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
            ('falling_object_id:required', "falling_object_id is null and _malformed is null"),
            ('building_code:required', "building_code is null and _malformed is null"),
            ('building_code:pattern', "not " ~ re_like('building_code', '^[0-9]{19}$')),
            ('detected_at:required', "detected_at__sent is null and _malformed is null"),
            ('detected_at:type', "detected_at__sent is not null and detected_at is null"),
            ('floor_estimate:type', "floor_estimate__sent is not null and floor_estimate is null"),
            ('floor_estimate:minimum', "floor_estimate < 1"),
            ('floor_estimate:maximum', "floor_estimate > 150"),
            ('is_confirmed:type', "is_confirmed__sent is not null and is_confirmed is null"),
            ('handled_at:type', "handled_at__sent is not null and handled_at is null"),
            ('updated_at:required', "updated_at__sent is null and _malformed is null"),
            ('updated_at:type', "updated_at__sent is not null and updated_at is null"),
            ('detected_at:in_future', "detected_at > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        falling_object_id,
        building_code,
        detected_at,
        floor_estimate,
        object_kind,
        is_confirmed,
        handled_at,
        updated_at,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('detected_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['falling_object_id', 'building_code', 'detected_at', 'floor_estimate', 'object_kind', 'is_confirmed', 'handled_at', 'updated_at']) }}
