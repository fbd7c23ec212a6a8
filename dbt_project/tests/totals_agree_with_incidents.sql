-- Every incident with a known place is counted once in its community's month.
with counted as (

    select month, sum(incident_count) as incident_count from {{ ref('fct_community_month') }} group by month

),

incident as (

    select occurred_month as month, count(*) as incident_count
    from {{ ref('fct_incident') }}
    where community_id is not null
    group by occurred_month

)

select incident.month, incident.incident_count, counted.incident_count as counted
from incident
left join counted on incident.month = counted.month
where counted.incident_count is null or counted.incident_count <> incident.incident_count
