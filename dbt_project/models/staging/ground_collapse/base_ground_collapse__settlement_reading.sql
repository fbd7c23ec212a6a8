-- made by `make generate` from sources/catalog; do not edit
{{ base_config('ground_collapse__settlement_reading', keys=['point_code', 'measured_date'], within_day=true) }}

with landed as (

    {{ landed('ground_collapse__settlement_reading', {
        'point_code': ['测点编号'],
        'measured_date': ['测量日期'],
        'community_name': ['社区'],
        'settlement_mm': ['沉降(毫米)|本次'],
        'cumulative_mm': ['沉降(毫米)|累计'],
    }) }}

),

sent as (

    select
        {{ sent('point_code') }} as point_code,
        {{ sent('measured_date') }} as measured_date,
        {{ sent('community_name') }} as community_name,
        {{ sent('settlement_mm') }} as settlement_mm,
        {{ sent('cumulative_mm') }} as cumulative_mm,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        point_code,
        measured_date as measured_date__sent,
        {{ as_date('measured_date') }} as measured_date,
        community_name,
        settlement_mm as settlement_mm__sent,
        {{ as_number('settlement_mm') }} as settlement_mm,
        cumulative_mm as cumulative_mm__sent,
        {{ as_number('cumulative_mm') }} as cumulative_mm,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('point_code:required', "point_code is null and _malformed is null"),
            ('measured_date:required', "measured_date__sent is null and _malformed is null"),
            ('measured_date:type', "measured_date__sent is not null and measured_date is null"),
            ('community_name:required', "community_name is null and _malformed is null"),
            ('settlement_mm:required', "settlement_mm__sent is null and _malformed is null"),
            ('settlement_mm:type', "settlement_mm__sent is not null and settlement_mm is null"),
            ('settlement_mm:minimum', "settlement_mm < -200"),
            ('settlement_mm:maximum', "settlement_mm > 200"),
            ('cumulative_mm:type', "cumulative_mm__sent is not null and cumulative_mm is null"),
            ('cumulative_mm:minimum', "cumulative_mm < -1000"),
            ('cumulative_mm:maximum', "cumulative_mm > 1000"),
            ('measured_date:in_future', "cast(measured_date as " ~ ts_type() ~ ") > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        point_code,
        measured_date,
        community_name,
        settlement_mm,
        cumulative_mm,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then measured_date else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['point_code', 'measured_date', 'community_name', 'settlement_mm', 'cumulative_mm']) }}
