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
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('resident_id:required', "resident_id is null and _malformed is null"),
            ('resident_name:required', "resident_name is null and _malformed is null"),
            ('id_number:required', "id_number is null and _malformed is null"),
            ('gender:values', "gender not in ('男', '女')"),
            ('birth_date:type', "birth_date__sent is not null and birth_date is null"),
            ('residence_type:required', "residence_type is null and _malformed is null"),
            ('residence_type:values', "residence_type not in ('户籍', '流动')"),
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
