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
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when rented_housing_id is null and _malformed is null then 'rented_housing_id:required' end,
            case when household_code is null and _malformed is null then 'household_code:required' end,
            case when room_count__sent is not null and room_count is null then 'room_count:type' end,
            case when room_count < 1 then 'room_count:minimum' end,
            case when room_count > 60 then 'room_count:maximum' end,
            case when tenant_count__sent is not null and tenant_count is null then 'tenant_count:type' end,
            case when tenant_count < 0 then 'tenant_count:minimum' end,
            case when tenant_count > 120 then 'tenant_count:maximum' end,
            case when fire_checked_date__sent is not null and fire_checked_date is null then 'fire_checked_date:type' end,
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
