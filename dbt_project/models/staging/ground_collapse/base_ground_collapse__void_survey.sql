-- made by `make generate` from sources/catalog; do not edit
{{ base_config('ground_collapse__void_survey', keys=['void_code']) }}

with landed as (

    {{ landed('ground_collapse__void_survey', {
        'void_code': ['空洞编号'],
        'community_name': ['社区'],
        'location_zh': ['位置'],
        'surveyed_date': ['普查日期'],
        'grade_text': ['隐患等级'],
        'depth_m': ['空洞(米)|埋深'],
        'area_m2': ['空洞(米)|面积'],
        'treated_date': ['处置完成日期'],
    }) }}

),

sent as (

    select
        {{ sent('void_code') }} as void_code,
        {{ sent('community_name') }} as community_name,
        {{ sent('location_zh') }} as location_zh,
        {{ sent('surveyed_date') }} as surveyed_date,
        {{ sent('grade_text') }} as grade_text,
        {{ sent('depth_m') }} as depth_m,
        {{ sent('area_m2') }} as area_m2,
        {{ sent('treated_date') }} as treated_date,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        void_code,
        community_name,
        location_zh,
        surveyed_date as surveyed_date__sent,
        {{ as_date('surveyed_date') }} as surveyed_date,
        grade_text,
        depth_m as depth_m__sent,
        {{ as_number('depth_m') }} as depth_m,
        area_m2 as area_m2__sent,
        {{ as_number('area_m2') }} as area_m2,
        treated_date as treated_date__sent,
        {{ as_date('treated_date') }} as treated_date,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('void_code:required', "void_code is null and _malformed is null"),
            ('void_code:pattern', "not " ~ re_like('void_code', '^KD[0-9]{8}$')),
            ('community_name:required', "community_name is null and _malformed is null"),
            ('surveyed_date:required', "surveyed_date__sent is null and _malformed is null"),
            ('surveyed_date:type', "surveyed_date__sent is not null and surveyed_date is null"),
            ('grade_text:required', "grade_text is null and _malformed is null"),
            ('depth_m:type', "depth_m__sent is not null and depth_m is null"),
            ('depth_m:minimum', "depth_m < 0"),
            ('depth_m:maximum', "depth_m > 50"),
            ('area_m2:type', "area_m2__sent is not null and area_m2 is null"),
            ('area_m2:minimum', "area_m2 < 0"),
            ('area_m2:maximum', "area_m2 > 10000"),
            ('treated_date:type', "treated_date__sent is not null and treated_date is null"),
            ('surveyed_date:in_future', "cast(surveyed_date as " ~ ts_type() ~ ") > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        void_code,
        community_name,
        location_zh,
        surveyed_date,
        grade_text,
        depth_m,
        area_m2,
        treated_date,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then surveyed_date else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['void_code', 'community_name', 'location_zh', 'surveyed_date', 'grade_text', 'depth_m', 'area_m2', 'treated_date']) }}
