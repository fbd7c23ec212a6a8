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
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('collapse_code:required', "collapse_code is null and _malformed is null"),
            ('collapse_code:pattern', "not " ~ re_like('collapse_code', '^TX[0-9]{8}$')),
            ('community_name:required', "community_name is null and _malformed is null"),
            ('found_date:required', "found_date__sent is null and _malformed is null"),
            ('found_date:type', "found_date__sent is not null and found_date is null"),
            ('grade_text:required', "grade_text is null and _malformed is null"),
            ('length_m:type', "length_m__sent is not null and length_m is null"),
            ('length_m:minimum', "length_m < 0"),
            ('length_m:maximum', "length_m > 200"),
            ('width_m:type', "width_m__sent is not null and width_m is null"),
            ('width_m:minimum', "width_m < 0"),
            ('width_m:maximum', "width_m > 200"),
            ('depth_m:type', "depth_m__sent is not null and depth_m is null"),
            ('depth_m:minimum', "depth_m < 0"),
            ('depth_m:maximum', "depth_m > 50"),
            ('casualty_count:type', "casualty_count__sent is not null and casualty_count is null"),
            ('casualty_count:minimum', "casualty_count < 0"),
            ('casualty_count:maximum', "casualty_count > 1000"),
            ('mitigated_date:type', "mitigated_date__sent is not null and mitigated_date is null"),
            ('found_date:in_future', "cast(found_date as " ~ ts_type() ~ ") > window_until + interval 1 day"),
        ]) }} as _broken_rules
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
