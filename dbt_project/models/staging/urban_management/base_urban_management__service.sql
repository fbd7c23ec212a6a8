-- made by `make generate` from sources/catalog; do not edit
{{ base_config('urban_management__service', keys=['service_code']) }}

with landed as (

    {{ landed('urban_management__service', {
        'service_code': ['service_code'],
        'service_name': ['service_name'],
        'description_text': ['description'],
        'has_metadata': ['metadata'],
        'service_type': ['type'],
        'service_group': ['group'],
    }) }}

),

sent as (

    select
        {{ sent('service_code') }} as service_code,
        {{ sent('service_name') }} as service_name,
        {{ sent('description_text') }} as description_text,
        {{ sent('has_metadata') }} as has_metadata,
        {{ sent('service_type') }} as service_type,
        {{ sent('service_group') }} as service_group,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        service_code,
        service_name,
        description_text,
        has_metadata as has_metadata__sent,
        {{ as_boolean('has_metadata') }} as has_metadata,
        service_type,
        service_group,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('service_code:required', "service_code is null and _malformed is null"),
            ('service_name:required', "service_name is null and _malformed is null"),
            ('has_metadata:type', "has_metadata__sent is not null and has_metadata is null"),
            ('service_type:values', "service_type not in ('realtime', 'batch', 'blackbox')"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        service_code,
        service_name,
        description_text,
        has_metadata,
        service_type,
        service_group,
        _load_id, _row, _broken_rules,
        {{ shanghai_day('window_until') }} as _day
    from judged

)

{{ added(['service_code', 'service_name', 'description_text', 'has_metadata', 'service_type', 'service_group']) }}
