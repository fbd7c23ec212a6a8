-- made by `make generate` from sources/catalog; do not edit
{{ base_config('police_dispatch__dispatch', keys=['dispatch_id'], version='change_number') }}

with landed as (

    {{ landed('police_dispatch__dispatch', {
        'dispatch_id': ['jjd_bh'],
        'case_type_code': ['ajlx_dm'],
        'community_code': ['sq_dm'],
        'location_text': ['sfdd'],
        'caller_name': ['bjr_xm'],
        'caller_phone': ['bjr_dh'],
        'summary_text': ['jq_nr'],
        'received_at': ['jj_sj'],
        'dispatched_at': ['pj_sj'],
        'arrived_at': ['dd_sj'],
        'closed_at': ['jj_wb_sj'],
        'status': ['zt'],
        'call_channel': ['ly'],
        'linked_record_code': ['gl_bh'],
        'change_number': ['bgxh'],
    }) }}

),

sent as (

    select
        {{ sent('dispatch_id') }} as dispatch_id,
        {{ sent('case_type_code') }} as case_type_code,
        {{ sent('community_code') }} as community_code,
        {{ sent('location_text') }} as location_text,
        {{ sent('caller_name') }} as caller_name,
        {{ sent('caller_phone') }} as caller_phone,
        {{ sent('summary_text') }} as summary_text,
        {{ sent('received_at') }} as received_at,
        {{ sent('dispatched_at') }} as dispatched_at,
        {{ sent('arrived_at') }} as arrived_at,
        {{ sent('closed_at') }} as closed_at,
        {{ sent('status') }} as status,
        {{ sent('call_channel') }} as call_channel,
        {{ sent('linked_record_code') }} as linked_record_code,
        {{ sent('change_number') }} as change_number,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        dispatch_id,
        case_type_code,
        community_code,
        location_text,
        caller_name,
        caller_phone,
        summary_text,
        received_at as received_at__sent,
        {{ as_timestamp('received_at') }} as received_at,
        dispatched_at as dispatched_at__sent,
        {{ as_timestamp('dispatched_at') }} as dispatched_at,
        arrived_at as arrived_at__sent,
        {{ as_timestamp('arrived_at') }} as arrived_at,
        closed_at as closed_at__sent,
        {{ as_timestamp('closed_at') }} as closed_at,
        status,
        call_channel,
        linked_record_code,
        change_number as change_number__sent,
        {{ as_integer('change_number') }} as change_number,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('dispatch_id:required', "dispatch_id is null and _malformed is null"),
            ('dispatch_id:pattern', "not " ~ re_like('dispatch_id', '^PD[0-9]{10}$')),
            ('case_type_code:required', "case_type_code is null and _malformed is null"),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('received_at:required', "received_at__sent is null and _malformed is null"),
            ('received_at:type', "received_at__sent is not null and received_at is null"),
            ('dispatched_at:type', "dispatched_at__sent is not null and dispatched_at is null"),
            ('arrived_at:type', "arrived_at__sent is not null and arrived_at is null"),
            ('closed_at:type', "closed_at__sent is not null and closed_at is null"),
            ('status:required', "status is null and _malformed is null"),
            ('status:values', "status not in ('received', 'dispatched', 'arrived', 'closed')"),
            ('call_channel:values', "call_channel not in ('110', 'patrol', 'transfer')"),
            ('change_number:required', "change_number__sent is null and _malformed is null"),
            ('change_number:type', "change_number__sent is not null and change_number is null"),
            ('received_at:in_future', "received_at > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        dispatch_id,
        case_type_code,
        community_code,
        location_text,
        caller_name,
        caller_phone,
        summary_text,
        received_at,
        dispatched_at,
        arrived_at,
        closed_at,
        status,
        call_channel,
        linked_record_code,
        change_number,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('received_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['dispatch_id', 'case_type_code', 'community_code', 'location_text', 'caller_name', 'caller_phone', 'summary_text', 'received_at', 'dispatched_at', 'arrived_at', 'closed_at', 'status', 'call_channel', 'linked_record_code', 'change_number']) }}
