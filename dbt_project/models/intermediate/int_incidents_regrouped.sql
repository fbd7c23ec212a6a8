{#-
  Days on which an incident of several reports may stand, before and after a change to any of them, for `touched_by`: a report that
  comes, changes, or names another record changes a row that lies in another report's day. All versions that ever named a grid event
  count, so that the day which a row leaves is among them; a version whose standing changes carries the build's number.
-#}
with naming as (

    select
        linked_record_code as event_id,
        'urban_management' as system,
        service_request_id as source_record_id
    from {{ ref('base_urban_management__service_request') }}
    where linked_record_code is not null and _broken_rules is null
    union
    select
        linked_record_code as event_id,
        'police_dispatch' as system,
        dispatch_id as source_record_id
    from {{ ref('base_police_dispatch__dispatch') }}
    where linked_record_code is not null and _broken_rules is null

),

member as (

    select
        naming.event_id,
        version._day,
        version._build_id
    from naming
    inner join {{ ref('base_urban_management__service_request') }} as version
        on naming.system = 'urban_management' and naming.source_record_id = version.service_request_id and version._broken_rules is null
    union all
    select
        naming.event_id,
        version._day,
        version._build_id
    from naming
    inner join {{ ref('base_police_dispatch__dispatch') }} as version
        on naming.system = 'police_dispatch' and naming.source_record_id = version.dispatch_id and version._broken_rules is null
    union all
    select
        version.event_id,
        version._day,
        version._build_id
    from {{ ref('base_grid_management__grid_event') }} as version
    inner join (select distinct event_id from naming) as named on version.event_id = named.event_id
    where version._broken_rules is null

)

select distinct
    member._day,
    changed._build_id
from member
inner join (select distinct event_id, _build_id from member) as changed on member.event_id = changed.event_id
