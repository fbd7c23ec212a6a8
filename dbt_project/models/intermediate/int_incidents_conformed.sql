-- Incidents: most are one report, which is taken as it is, so that a build can pick its days; those of several reports are put together.
with report as (

    select * from {{ ref('int_incident_reports_conformed') }}

),

of_several as (

    select distinct incident_id from report where not is_first

),

single as (

    select
        report.*,
        cast(1 as bigint) as report_count,
        cast(1 as bigint) as source_count
    from report
    left join of_several on report.incident_id = of_several.incident_id
    where of_several.incident_id is null

),

joined as (

    select
        report.incident_id,
        min(report.occurred_at) as occurred_at,
        min(report.reported_at) as reported_at,
        min(report.accepted_at) as accepted_at,
        min(report.arrived_at) as arrived_at,
        case when min(case when report.status = 'closed' then 1 else 0 end) = 1 then max(report.closed_at) end as closed_at,
        min(report.due_at) as due_at,
        case
            when min(case when report.status = 'closed' then 1 else 0 end) = 1 then 'closed'
            when count(report.accepted_at) > 0 or max(case when report.status <> 'reported' then 1 else 0 end) = 1 then 'accepted'
            else 'reported'
        end as status,
        min(report._day) as _day,
        count(*) as report_count,
        count(distinct report.system) as source_count
    from report
    inner join of_several on report.incident_id = of_several.incident_id
    group by report.incident_id

),

final as (

    select
        incident_id,
        system,
        incident_type_id,
        source_incident_type_code,
        community_id,
        source_community_id,
        grid_code,
        occurred_at,
        reported_at,
        accepted_at,
        arrived_at,
        closed_at,
        due_at,
        status,
        department_id,
        report_count,
        source_count,
        _day
    from single
    union all
    -- What and where it is says the report that the others name.
    select
        joined.incident_id,
        report.system,
        report.incident_type_id,
        report.source_incident_type_code,
        report.community_id,
        report.source_community_id,
        report.grid_code,
        joined.occurred_at,
        joined.reported_at,
        joined.accepted_at,
        joined.arrived_at,
        joined.closed_at,
        joined.due_at,
        joined.status,
        report.department_id,
        joined.report_count,
        joined.source_count,
        joined._day
    from joined
    inner join report on joined.incident_id = report.incident_id and report.is_first

)

select
    *,
    closed_at is null and status <> 'closed' as is_open
from final
