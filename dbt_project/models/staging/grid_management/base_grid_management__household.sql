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
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when household_code is null and _malformed is null then 'household_code:required' end,
            case when building_code is null and _malformed is null then 'building_code:required' end,
            case when not {{ re_like('building_code', '^[0-9]{19}$') }} then 'building_code:pattern' end,
            case when member_count__sent is not null and member_count is null then 'member_count:type' end,
            case when member_count < 0 then 'member_count:minimum' end,
            case when member_count > 30 then 'member_count:maximum' end,
            case when is_rented__sent is not null and is_rented is null then 'is_rented:type' end,
            case when community_code is null and _malformed is null then 'community_code:required' end,
            case when not {{ re_like('community_code', '^[0-9]{12}$') }} then 'community_code:pattern' end,
            case when grid_code is null and _malformed is null then 'grid_code:required' end,
            case when not {{ re_like('grid_code', '^[0-9]{3}$') }} then 'grid_code:pattern' end,
            case when updated_at__sent is null and _malformed is null then 'updated_at:required' end,
            case when updated_at__sent is not null and updated_at is null then 'updated_at:type' end
        ), '') as _broken_rules
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
