-- Incidents of every system in one shape. A system that reports incidents is one more branch of `reported`.
with reported as (

    select
        'grid_management' as system,
        event_id as source_incident_id,
        incident_type_code,
        community_code,
        grid_code,
        occurred_at,
        reported_at,
        accepted_at,
        closed_at,
        due_at,
        status,
        handling_department,
        _day
    from {{ ref('stg_grid_management__grid_event') }}

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

department as (

    select name_zh as department_name, department_id from {{ ref('department') }}
    union
    select short_zh as department_name, department_id from {{ ref('department') }} where short_zh is not null

),

final as (

    select
        reported.system || ':' || reported.source_incident_id as incident_id,
        reported.system,
        incident_type.incident_type_id,
        reported.incident_type_code as source_incident_type_code,
        community.community_id,
        reported.community_code as source_community_id,
        reported.grid_code,
        reported.occurred_at,
        reported.reported_at,
        reported.accepted_at,
        reported.closed_at,
        coalesce(reported.due_at, reported.reported_at + interval 1 hour * incident_type.due_hours) as due_at,
        reported.status,
        coalesce(department.department_id, incident_type.department_id) as department_id,
        reported._day
    from reported
    left join community on reported.community_code = community.source_community_id
    left join incident_type on reported.incident_type_code = incident_type.incident_type_id
    left join department on reported.handling_department = department.department_name

)

select
    *,
    closed_at is null and status <> 'closed' as is_open
from final
