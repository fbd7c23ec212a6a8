-- made by `make generate` from sources/catalog; do not edit
{{ base_config('grid_management__rented_housing', keys=['rented_housing_id'], version='updated_at') }}

with landed as (

    {{ landed('grid_management__rented_housing', {
        'rented_housing_id': ['houseId'],
        'household_code': ['householdId'],
        'landlord_name': ['landlordName'],
        'landlord_phone': ['landlordPhone'],
        'room_count': ['rooms'],
        'tenant_count': ['tenantCount'],
        'fire_checked_date': ['fireCheckedOn'],
        'community_code': ['communityCode'],
        'grid_code': ['gridCode'],
        'updated_at': ['updatedAt'],
    }) }}

),

sent as (

    select
        {{ sent('rented_housing_id') }} as rented_housing_id,
        {{ sent('household_code') }} as household_code,
        {{ sent('landlord_name') }} as landlord_name,
        {{ sent('landlord_phone') }} as landlord_phone,
        {{ sent('room_count') }} as room_count,
        {{ sent('tenant_count') }} as tenant_count,
        {{ sent('fire_checked_date') }} as fire_checked_date,
        {{ sent('community_code') }} as community_code,
        {{ sent('grid_code') }} as grid_code,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        rented_housing_id,
        household_code,
        landlord_name,
        landlord_phone,
        room_count as room_count__sent,
        {{ as_integer('room_count') }} as room_count,
        tenant_count as tenant_count__sent,
        {{ as_integer('tenant_count') }} as tenant_count,
        fire_checked_date as fire_checked_date__sent,
        {{ as_date('fire_checked_date') }} as fire_checked_date,
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
            ('rented_housing_id:required', "rented_housing_id is null and _malformed is null"),
            ('household_code:required', "household_code is null and _malformed is null"),
            ('room_count:type', "room_count__sent is not null and room_count is null"),
            ('room_count:minimum', "room_count < 1"),
            ('room_count:maximum', "room_count > 60"),
            ('tenant_count:type', "tenant_count__sent is not null and tenant_count is null"),
            ('tenant_count:minimum', "tenant_count < 0"),
            ('tenant_count:maximum', "tenant_count > 120"),
            ('fire_checked_date:type', "fire_checked_date__sent is not null and fire_checked_date is null"),
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
        rented_housing_id,
        household_code,
        landlord_name,
        landlord_phone,
        room_count,
        tenant_count,
        fire_checked_date,
        community_code,
        grid_code,
        updated_at,
        _load_id, _row, _broken_rules,
        {{ shanghai_day('window_until') }} as _day
    from judged

)

{{ added(['rented_housing_id', 'household_code', 'landlord_name', 'landlord_phone', 'room_count', 'tenant_count', 'fire_checked_date', 'community_code', 'grid_code', 'updated_at']) }}
