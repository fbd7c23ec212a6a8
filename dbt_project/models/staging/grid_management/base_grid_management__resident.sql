-- made by `make generate` from sources/catalog; do not edit
{{ base_config('grid_management__resident', keys=['resident_id'], version='updated_at') }}

with landed as (

    {{ landed('grid_management__resident', {
        'resident_id': ['residentId'],
        'resident_name': ['name'],
        'id_number': ['idNumber'],
        'phone': ['phone'],
        'gender': ['gender'],
        'birth_date': ['birthDate'],
        'residence_type': ['residenceType'],
        'household_code': ['householdId'],
        'community_code': ['communityCode'],
        'grid_code': ['gridCode'],
        'updated_at': ['updatedAt'],
    }) }}

),

sent as (

    select
        {{ sent('resident_id') }} as resident_id,
        {{ sent('resident_name') }} as resident_name,
        {{ sent('id_number') }} as id_number,
        {{ sent('phone') }} as phone,
        {{ sent('gender') }} as gender,
        {{ sent('birth_date') }} as birth_date,
        {{ sent('residence_type') }} as residence_type,
        {{ sent('household_code') }} as household_code,
        {{ sent('community_code') }} as community_code,
        {{ sent('grid_code') }} as grid_code,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        resident_id,
        resident_name,
        id_number,
        phone,
        gender,
        birth_date as birth_date__sent,
        {{ as_date('birth_date') }} as birth_date,
        residence_type,
        household_code,
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
            case when resident_id is null and _malformed is null then 'resident_id:required' end,
            case when resident_name is null and _malformed is null then 'resident_name:required' end,
            case when id_number is null and _malformed is null then 'id_number:required' end,
            case when gender not in ('男', '女') then 'gender:values' end,
            case when birth_date__sent is not null and birth_date is null then 'birth_date:type' end,
            case when residence_type is null and _malformed is null then 'residence_type:required' end,
            case when residence_type not in ('户籍', '流动') then 'residence_type:values' end,
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
        resident_id,
        resident_name,
        id_number,
        phone,
        gender,
        birth_date,
        residence_type,
        household_code,
        community_code,
        grid_code,
        updated_at,
        _load_id, _row, _broken_rules,
        {{ shanghai_day('window_until') }} as _day
    from judged

)

{{ added(['resident_id', 'resident_name', 'id_number', 'phone', 'gender', 'birth_date', 'residence_type', 'household_code', 'community_code', 'grid_code', 'updated_at']) }}
