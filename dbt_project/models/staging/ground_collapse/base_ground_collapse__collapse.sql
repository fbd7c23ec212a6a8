-- made by `make generate` from sources/catalog; do not edit
{{ base_config('ground_collapse__collapse', keys=['collapse_code']) }}

with landed as (

    {{ landed('ground_collapse__collapse', {
        'collapse_code': ['事故编号'],
        'community_name': ['社区'],
        'location_zh': ['位置'],
        'found_date': ['发现日期'],
        'grade_text': ['等级'],
        'length_m': ['规模(米)|长'],
        'width_m': ['规模(米)|宽'],
        'depth_m': ['规模(米)|深'],
        'cause': ['原因'],
        'casualty_count': ['伤亡人数'],
        'measure_taken': ['处置|措施'],
        'mitigated_date': ['处置|完成日期'],
    }) }}

),

sent as (

    select
        {{ sent('collapse_code') }} as collapse_code,
        {{ sent('community_name') }} as community_name,
        {{ sent('location_zh') }} as location_zh,
        {{ sent('found_date') }} as found_date,
        {{ sent('grade_text') }} as grade_text,
        {{ sent('length_m') }} as length_m,
        {{ sent('width_m') }} as width_m,
        {{ sent('depth_m') }} as depth_m,
        {{ sent('cause') }} as cause,
        {{ sent('casualty_count') }} as casualty_count,
        {{ sent('measure_taken') }} as measure_taken,
        {{ sent('mitigated_date') }} as mitigated_date,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        collapse_code,
        community_name,
        location_zh,
        found_date as found_date__sent,
        {{ as_date('found_date') }} as found_date,
        grade_text,
        length_m as length_m__sent,
        {{ as_number('length_m') }} as length_m,
        width_m as width_m__sent,
        {{ as_number('width_m') }} as width_m,
        depth_m as depth_m__sent,
        {{ as_number('depth_m') }} as depth_m,
        cause,
        casualty_count as casualty_count__sent,
        {{ as_integer('casualty_count') }} as casualty_count,
        measure_taken,
        mitigated_date as mitigated_date__sent,
        {{ as_date('mitigated_date') }} as mitigated_date,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when collapse_code is null and _malformed is null then 'collapse_code:required' end,
            case when not {{ re_like('collapse_code', '^TX[0-9]{8}$') }} then 'collapse_code:pattern' end,
            case when community_name is null and _malformed is null then 'community_name:required' end,
            case when found_date__sent is null and _malformed is null then 'found_date:required' end,
            case when found_date__sent is not null and found_date is null then 'found_date:type' end,
            case when grade_text is null and _malformed is null then 'grade_text:required' end,
            case when length_m__sent is not null and length_m is null then 'length_m:type' end,
            case when length_m < 0 then 'length_m:minimum' end,
            case when length_m > 200 then 'length_m:maximum' end,
            case when width_m__sent is not null and width_m is null then 'width_m:type' end,
            case when width_m < 0 then 'width_m:minimum' end,
            case when width_m > 200 then 'width_m:maximum' end,
            case when depth_m__sent is not null and depth_m is null then 'depth_m:type' end,
            case when depth_m < 0 then 'depth_m:minimum' end,
            case when depth_m > 50 then 'depth_m:maximum' end,
            case when casualty_count__sent is not null and casualty_count is null then 'casualty_count:type' end,
            case when casualty_count < 0 then 'casualty_count:minimum' end,
            case when casualty_count > 1000 then 'casualty_count:maximum' end,
            case when mitigated_date__sent is not null and mitigated_date is null then 'mitigated_date:type' end,
            case when cast(found_date as {{ ts_type() }}) > window_until + interval 1 day then 'found_date:in_future' end
        ), '') as _broken_rules
    from typed

),

checked as (

    select
        collapse_code,
        community_name,
        location_zh,
        found_date,
        grade_text,
        length_m,
        width_m,
        depth_m,
        cause,
        casualty_count,
        measure_taken,
        mitigated_date,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then found_date else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['collapse_code', 'community_name', 'location_zh', 'found_date', 'grade_text', 'length_m', 'width_m', 'depth_m', 'cause', 'casualty_count', 'measure_taken', 'mitigated_date']) }}
