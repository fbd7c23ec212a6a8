-- made by `make generate` from sources/catalog; do not edit
{{ base_config('urban_management__service_request', keys=['service_request_id'], version='updated_at') }}

with landed as (

    {{ landed('urban_management__service_request', {
        'service_request_id': ['service_request_id'],
        'service_code': ['service_code'],
        'status': ['status'],
        'status_notes': ['status_notes'],
        'description_text': ['description'],
        'agency_responsible': ['agency_responsible'],
        'requested_at': ['requested_datetime'],
        'expected_at': ['expected_datetime'],
        'updated_at': ['updated_datetime'],
        'location_text': ['address'],
        'building_code': ['address_id'],
        'latitude': ['lat'],
        'longitude': ['long'],
        'media_url': ['media_url'],
        'linked_record_code': ['linked_case_id'],
    }) }}

),

sent as (

    select
        {{ sent('service_request_id') }} as service_request_id,
        {{ sent('service_code') }} as service_code,
        {{ sent('status') }} as status,
        {{ sent('status_notes') }} as status_notes,
        {{ sent('description_text') }} as description_text,
        {{ sent('agency_responsible') }} as agency_responsible,
        {{ sent('requested_at') }} as requested_at,
        {{ sent('expected_at') }} as expected_at,
        {{ sent('updated_at') }} as updated_at,
        {{ sent('location_text') }} as location_text,
        {{ sent('building_code') }} as building_code,
        {{ sent('latitude') }} as latitude,
        {{ sent('longitude') }} as longitude,
        {{ sent('media_url') }} as media_url,
        {{ sent('linked_record_code') }} as linked_record_code,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        service_request_id,
        service_code,
        status,
        status_notes,
        description_text,
        agency_responsible,
        requested_at as requested_at__sent,
        {{ as_timestamp('requested_at') }} as requested_at,
        expected_at as expected_at__sent,
        {{ as_timestamp('expected_at') }} as expected_at,
        updated_at as updated_at__sent,
        {{ as_timestamp('updated_at') }} as updated_at,
        location_text,
        building_code,
        latitude as latitude__sent,
        {{ as_number('latitude') }} as latitude,
        longitude as longitude__sent,
        {{ as_number('longitude') }} as longitude,
        media_url,
        linked_record_code,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('service_request_id:required', "service_request_id is null and _malformed is null"),
            ('service_request_id:pattern', "not " ~ re_like('service_request_id', '^[0-9]{12}$')),
            ('service_code:required', "service_code is null and _malformed is null"),
            ('status:required', "status is null and _malformed is null"),
            ('status:values', "status not in ('open', 'closed')"),
            ('requested_at:required', "requested_at__sent is null and _malformed is null"),
            ('requested_at:type', "requested_at__sent is not null and requested_at is null"),
            ('expected_at:type', "expected_at__sent is not null and expected_at is null"),
            ('updated_at:required', "updated_at__sent is null and _malformed is null"),
            ('updated_at:type', "updated_at__sent is not null and updated_at is null"),
            ('building_code:required', "building_code is null and _malformed is null"),
            ('building_code:pattern', "not " ~ re_like('building_code', '^[0-9]{19}$')),
            ('latitude:type', "latitude__sent is not null and latitude is null"),
            ('latitude:minimum', "latitude < -90"),
            ('latitude:maximum', "latitude > 90"),
            ('longitude:type', "longitude__sent is not null and longitude is null"),
            ('longitude:minimum', "longitude < -180"),
            ('longitude:maximum', "longitude > 180"),
            ('requested_at:in_future', "requested_at > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        service_request_id,
        service_code,
        status,
        status_notes,
        description_text,
        agency_responsible,
        requested_at,
        expected_at,
        updated_at,
        location_text,
        building_code,
        latitude,
        longitude,
        media_url,
        linked_record_code,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('requested_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['service_request_id', 'service_code', 'status', 'status_notes', 'description_text', 'agency_responsible', 'requested_at', 'expected_at', 'updated_at', 'location_text', 'building_code', 'latitude', 'longitude', 'media_url', 'linked_record_code']) }}
