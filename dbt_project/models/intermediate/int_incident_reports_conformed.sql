-- Reports of incidents by every system in one shape: one more system is one more branch of `reported`. A report that names a grid
-- event belongs to that event's incident, as long as the event is there.
with grid_event as (

    select * from {{ ref('stg_grid_management__grid_event') }}

),

reported as (

    select
        'grid_management' as system,
        event_id as source_record_id,
        incident_type_code as source_incident_type_code,
        community_code as source_community_id,
        grid_code,
        occurred_at,
        reported_at,
        accepted_at,
        cast(null as {{ ts_type() }}) as arrived_at,
        closed_at,
        due_at,
        status,
        handling_department,
        cast(null as {{ text_type() }}) as linked_record_code,
        _day
    from grid_event
    union all
    -- GeoReport says when a request was last updated, not when it was closed.
    select
        'urban_management' as system,
        service_request_id as source_record_id,
        service_code as source_incident_type_code,
        substr(building_code, 1, 12) as source_community_id,
        cast(null as {{ text_type() }}) as grid_code,
        requested_at as occurred_at,
        requested_at as reported_at,
        cast(null as {{ ts_type() }}) as accepted_at,
        cast(null as {{ ts_type() }}) as arrived_at,
        case when status = 'closed' then updated_at end as closed_at,
        expected_at as due_at,
        case when status = 'closed' then 'closed' else 'reported' end as status,
        agency_responsible as handling_department,
        linked_record_code,
        _day
    from {{ ref('stg_urban_management__service_request') }}
    union all
    select
        'police_dispatch' as system,
        dispatch_id as source_record_id,
        case_type_code as source_incident_type_code,
        community_code as source_community_id,
        cast(null as {{ text_type() }}) as grid_code,
        received_at as occurred_at,
        received_at as reported_at,
        dispatched_at as accepted_at,
        arrived_at,
        closed_at,
        cast(null as {{ ts_type() }}) as due_at,
        case when status = 'closed' then 'closed' when status = 'received' then 'reported' else 'accepted' end as status,
        cast(null as {{ text_type() }}) as handling_department,
        linked_record_code,
        _day
    from {{ ref('stg_police_dispatch__dispatch') }}

),

community as (

    select
        community_id as source_community_id,
        coalesce(merged_into_community_id, community_id) as community_id
    from {{ ref('community') }}

),

incident_type as (

    select * from {{ ref('incident_type') }}

),

-- The grid's own codes are the types.
crosswalk as (

    select
        system,
        source_code,
        incident_type_id
    from {{ ref('incident_type_code') }}
    where system <> 'grid_management'
    union all
    select
        'grid_management' as system,
        incident_type_id as source_code,
        incident_type_id
    from incident_type

),

other_type as (

    select * from {{ ref('incident_type_other') }}

),

department as (

    select name_zh as department_name, department_id from {{ ref('department') }}
    union
    select short_zh as department_name, department_id from {{ ref('department') }} where short_zh is not null

),

typed as (

    select
        reported.*,
        crosswalk.incident_type_id is not null as is_type_known,
        coalesce(crosswalk.incident_type_id, other_type.incident_type_id) as incident_type_id
    from reported
    left join crosswalk on reported.system = crosswalk.system and reported.source_incident_type_code = crosswalk.source_code
    left join other_type on reported.system = other_type.system

)

select
    typed.system || ':' || typed.source_record_id as report_id,
    case
        when grid_event.event_id is not null then 'grid_management:' || grid_event.event_id
        else typed.system || ':' || typed.source_record_id
    end as incident_id,
    grid_event.event_id is null as is_first,
    typed.system,
    typed.source_record_id,
    typed.linked_record_code,
    typed.incident_type_id,
    typed.source_incident_type_code,
    typed.is_type_known,
    community.community_id,
    typed.source_community_id,
    typed.grid_code,
    typed.occurred_at,
    typed.reported_at,
    typed.accepted_at,
    typed.arrived_at,
    typed.closed_at,
    coalesce(typed.due_at, typed.reported_at + interval 1 hour * incident_type.due_hours) as due_at,
    typed.status,
    coalesce(department.department_id, incident_type.department_id) as department_id,
    typed._day
from typed
left join grid_event on typed.linked_record_code = grid_event.event_id
left join community on typed.source_community_id = community.source_community_id
left join incident_type on typed.incident_type_id = incident_type.incident_type_id
left join department on typed.handling_department = department.department_name
