-- made by `make generate` from sources/catalog; do not edit
{{ base_config('grid_management__household', keys=['household_code'], version='updated_at') }}

with landed as (

    {{ landed('grid_management__household', {
        'household_code': ['householdId'],
        'address_text': ['address'],
        'building_code': ['buildingCode'],
        'room_code': ['roomNo'],
        'member_count': ['memberCount'],
        'is_rented': ['isRented'],
        'community_code': ['communityCode'],
        'grid_code': ['gridCode'],
        'updated_at': ['updatedAt'],
    }) }}

),

sent as (

    select
        {{ sent('household_code') }} as household_code,
        {{ sent('address_text') }} as address_text,
        {{ sent('building_code') }} as building_code,
        {{ sent('room_code') }} as room_code,
        {{ sent('member_count') }} as member_count,
        {{ sent('is_rented') }} as is_rented,
        {{ sent('community_code') }} as community_code,
        {{ sent('grid_code') }} as grid_code,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        household_code,
        address_text,
        building_code,
        room_code,
        member_count as member_count__sent,
        {{ as_integer('member_count') }} as member_count,
        is_rented as is_rented__sent,
        {{ as_boolean('is_rented') }} as is_rented,
        community_code,
        grid_code,
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
            ('household_code:required', "household_code is null and _malformed is null"),
            ('building_code:required', "building_code is null and _malformed is null"),
            ('building_code:pattern', "not " ~ re_like('building_code', '^[0-9]{19}$')),
            ('member_count:type', "member_count__sent is not null and member_count is null"),
            ('member_count:minimum', "member_count < 0"),
            ('member_count:maximum', "member_count > 30"),
            ('is_rented:type', "is_rented__sent is not null and is_rented is null"),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('grid_code:required', "grid_code is null and _malformed is null"),
            ('grid_code:pattern', "not " ~ re_like('grid_code', '^[0-9]{3}$')),
            ('updated_at:required', "updated_at__sent is null and _malformed is null"),
            ('updated_at:type', "updated_at__sent is not null and updated_at is null"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        household_code,
        address_text,
        building_code,
        room_code,
        member_count,
        is_rented,
        community_code,
        grid_code,
        updated_at,
        _load_id, _row, _broken_rules,
        {{ shanghai_day('window_until') }} as _day
    from judged

)

{{ added(['household_code', 'address_text', 'building_code', 'room_code', 'member_count', 'is_rented', 'community_code', 'grid_code', 'updated_at']) }}
