-- made by `make generate` from sources/catalog; do not edit
{{ base_config('grid_management__grid_event', keys=['event_id'], version='updated_at') }}

with landed as (

    {{ landed('grid_management__grid_event', {
        'event_id': ['eventId'],
        'incident_type_code': ['typeCode'],
        'community_code': ['communityCode'],
        'grid_code': ['gridCode'],
        'title': ['title'],
        'description_text': ['description'],
        'location_text': ['address'],
        'reporter_name': ['reporterName'],
        'reporter_phone': ['reporterPhone'],
        'occurred_at': ['occurredAt'],
        'reported_at': ['reportedAt'],
        'accepted_at': ['acceptedAt'],
        'closed_at': ['closedAt'],
        'due_at': ['dueAt'],
        'status': ['status'],
        'handling_department': ['handlingDept'],
        'attachments': ['attachments'],
        'updated_at': ['updatedAt'],
    }) }}

),

sent as (

    select
        {{ sent('event_id') }} as event_id,
        {{ sent('incident_type_code') }} as incident_type_code,
        {{ sent('community_code') }} as community_code,
        {{ sent('grid_code') }} as grid_code,
        {{ sent('title') }} as title,
        {{ sent('description_text') }} as description_text,
        {{ sent('location_text') }} as location_text,
        {{ sent('reporter_name') }} as reporter_name,
        {{ sent('reporter_phone') }} as reporter_phone,
        {{ sent('occurred_at') }} as occurred_at,
        {{ sent('reported_at') }} as reported_at,
        {{ sent('accepted_at') }} as accepted_at,
        {{ sent('closed_at') }} as closed_at,
        {{ sent('due_at') }} as due_at,
        {{ sent('status') }} as status,
        {{ sent('handling_department') }} as handling_department,
        attachments,
        {{ sent('updated_at') }} as updated_at,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        event_id,
        incident_type_code,
        community_code,
        grid_code,
        title,
        description_text,
        location_text,
        reporter_name,
        reporter_phone,
        occurred_at as occurred_at__sent,
        {{ as_timestamp('occurred_at') }} as occurred_at,
        reported_at as reported_at__sent,
        {{ as_timestamp('reported_at') }} as reported_at,
        accepted_at as accepted_at__sent,
        {{ as_timestamp('accepted_at') }} as accepted_at,
        closed_at as closed_at__sent,
        {{ as_timestamp('closed_at') }} as closed_at,
        due_at as due_at__sent,
        {{ as_timestamp('due_at') }} as due_at,
        status,
        handling_department,
        attachments,
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
            ('event_id:required', "event_id is null and _malformed is null"),
            ('event_id:pattern', "not " ~ re_like('event_id', '^GE[0-9]{10}$')),
            ('incident_type_code:required', "incident_type_code is null and _malformed is null"),
            ('incident_type_code:pattern', "not " ~ re_like('incident_type_code', '^[A-Z][0-9]{2}$')),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('grid_code:required', "grid_code is null and _malformed is null"),
            ('grid_code:pattern', "not " ~ re_like('grid_code', '^[0-9]{3}$')),
            ('occurred_at:required', "occurred_at__sent is null and _malformed is null"),
            ('occurred_at:type', "occurred_at__sent is not null and occurred_at is null"),
            ('reported_at:required', "reported_at__sent is null and _malformed is null"),
            ('reported_at:type', "reported_at__sent is not null and reported_at is null"),
            ('accepted_at:type', "accepted_at__sent is not null and accepted_at is null"),
            ('closed_at:type', "closed_at__sent is not null and closed_at is null"),
            ('due_at:type', "due_at__sent is not null and due_at is null"),
            ('status:required', "status is null and _malformed is null"),
            ('status:values', "status not in ('reported', 'accepted', 'closed')"),
            ('updated_at:required', "updated_at__sent is null and _malformed is null"),
            ('updated_at:type', "updated_at__sent is not null and updated_at is null"),
            ('occurred_at:in_future', "occurred_at > window_until + interval 1 day"),
        ]) }} as _broken_rules
    from typed

),

checked as (

    select
        event_id,
        incident_type_code,
        community_code,
        grid_code,
        title,
        description_text,
        location_text,
        reporter_name,
        reporter_phone,
        occurred_at,
        reported_at,
        accepted_at,
        closed_at,
        due_at,
        status,
        handling_department,
        attachments,
        updated_at,
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then {{ shanghai_day('occurred_at') }} else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['event_id', 'incident_type_code', 'community_code', 'grid_code', 'title', 'description_text', 'location_text', 'reporter_name', 'reporter_phone', 'occurred_at', 'reported_at', 'accepted_at', 'closed_at', 'due_at', 'status', 'handling_department', 'attachments', 'updated_at']) }}
