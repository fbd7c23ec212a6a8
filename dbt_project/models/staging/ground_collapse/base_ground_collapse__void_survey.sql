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
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when void_code is null and _malformed is null then 'void_code:required' end,
            case when not {{ re_like('void_code', '^KD[0-9]{8}$') }} then 'void_code:pattern' end,
            case when community_name is null and _malformed is null then 'community_name:required' end,
            case when surveyed_date__sent is null and _malformed is null then 'surveyed_date:required' end,
            case when surveyed_date__sent is not null and surveyed_date is null then 'surveyed_date:type' end,
            case when grade_text is null and _malformed is null then 'grade_text:required' end,
            case when depth_m__sent is not null and depth_m is null then 'depth_m:type' end,
            case when depth_m < 0 then 'depth_m:minimum' end,
            case when depth_m > 50 then 'depth_m:maximum' end,
            case when area_m2__sent is not null and area_m2 is null then 'area_m2:type' end,
            case when area_m2 < 0 then 'area_m2:minimum' end,
            case when area_m2 > 10000 then 'area_m2:maximum' end,
            case when treated_date__sent is not null and treated_date is null then 'treated_date:type' end,
            case when cast(surveyed_date as {{ ts_type() }}) > window_until + interval 1 day then 'surveyed_date:in_future' end
        ), '') as _broken_rules
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
