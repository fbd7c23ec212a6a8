-- made by `make generate` from sources/catalog; do not edit
{{ base_config('police_dispatch__patrol_hours_day', keys=['patrol_date', 'community_code'], version='updated_at', within_day=true) }}

with landed as (

    {{ landed('police_dispatch__patrol_hours_day', {
        'patrol_date': ['xl_rq'],
        'community_code': ['sq_dm'],
        'patrol_hours': ['xl_ss'],
        'officer_count': ['jl_rs'],
        'updated_at': ['gx_sj'],
    }) }}

),

sent as (

    select
        {{ sent('patrol_date') }} as patrol_date,
        {{ sent('community_code') }} as community_code,
        {{ sent('patrol_hours') }} as patrol_hours,
        {{ sent('officer_count') }} as officer_count,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        patrol_date as patrol_date__sent,
        {{ as_date('patrol_date') }} as patrol_date,
        community_code,
        patrol_hours as patrol_hours__sent,
        {{ as_number('patrol_hours') }} as patrol_hours,
        officer_count as officer_count__sent,
        {{ as_integer('officer_count') }} as officer_count,
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
            ('patrol_date:required', "patrol_date__sent is null and _malformed is null"),
            ('patrol_date:type', "patrol_date__sent is not null and patrol_date is null"),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('patrol_hours:required', "patrol_hours__sent is null and _malformed is null"),
            ('patrol_hours:type', "patrol_hours__sent is not null and patrol_hours is null"),
            ('patrol_hours:minimum', "patrol_hours < 0"),
            ('patrol_hours:maximum', "patrol_hours > 2400"),
            ('officer_count:type', "officer_count__sent is not null and officer_count is null"),
            ('officer_count:minimum', "officer_count < 0"),
            ('officer_count:maximum', "officer_count > 1000"),
            ('updated_at:required', "updated_at__sent is null and _malformed is null"),
            ('updated_at:type', "updated_at__sent is not null and updated_at is null"),
            ('patrol_date:in_future', "cast(patrol_date as " ~ ts_type() ~ ") > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        patrol_date,
        community_code,
        patrol_hours,
        officer_count,
        updated_at,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then patrol_date else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['patrol_date', 'community_code', 'patrol_hours', 'officer_count', 'updated_at']) }}
