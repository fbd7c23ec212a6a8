{%- set touched_by = [
    'base_grid_management__grid_event', 'base_urban_management__service_request', 'base_police_dispatch__dispatch',
    'int_incidents_regrouped', 'int_incidents_fallen_due',
    'base_waterlogging__water_level', 'base_waterlogging__rain_gauge', 'int_devices_changed',
    'int_filings_versioned',
] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='month', grain='month', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with incidents as (

    select
        incident.community_id,
        incident.occurred_month as month,
        count(*) as incident_count,
        {%- for category in ['security', 'emergency', 'safety', 'environment'] %}
        count(case when incident_type.category_id = '{{ category }}' then 1 end) as {{ category }}_count,
        {%- endfor %}
        count(case when incident.system = 'police_dispatch' then 1 end) as police_incident_count,
        count(case when incident.status = 'closed' then 1 end) as closed_count,
        count(case when incident.is_overdue then 1 end) as overdue_count,
        percentile_cont(0.5) within group (order by incident.handling_minutes) as median_handling_minutes
    from {{ ref('fct_incident') }} as incident
    left join {{ ref('dim_incident_type') }} as incident_type on incident.incident_type_id = incident_type.incident_type_id
    where {{ is_touched('incident.occurred_month') }}
    group by incident.community_id, incident.occurred_month

),

gauges as (

    select
        community_id,
        month,
        count(distinct device_id) as gauge_count,
        cast(sum(waterlogged_hour_count) as bigint) as waterlogged_hour_count,
        cast(sum(rain_mm) as double) / count(rain_mm) as rain_mm
    from {{ ref('int_gauges_summed') }}
    where {{ is_touched('month') }}
    group by community_id, month

),

filings as (

    select
        community_id,
        filing_month as month,
        count(*) as enterprise_count,
        count(case when is_late then 1 end) as late_filing_count
    from {{ ref('fct_enterprise_month') }}
    where {{ is_touched('filing_month') }}
    group by community_id, filing_month

),

-- A month is there once anything in it is; a source of which nothing is there in a month is missing, not zero.
months as (

    select
        month,
        max(has_incidents) as has_incidents,
        max(has_gauges) as has_gauges,
        max(has_filings) as has_filings
    from (
        select month, 1 as has_incidents, 0 as has_gauges, 0 as has_filings from incidents
        union all
        select month, 0 as has_incidents, 1 as has_gauges, 0 as has_filings from gauges
        union all
        select month, 0 as has_incidents, 0 as has_gauges, 1 as has_filings from filings
    ) as seen
    group by month

),

community as (

    select
        community_id,
        population_count
    from {{ ref('dim_community') }}
    where is_current

),

final as (

    select
        community.community_id,
        months.month,
        {%- for column in [
            'incident_count', 'security_count', 'emergency_count', 'safety_count', 'environment_count', 'police_incident_count', 'closed_count',
            'overdue_count'
        ] %}
        case when months.has_incidents = 1 then coalesce(incidents.{{ column }}, 0) end as {{ column }},
        {%- endfor %}
        incidents.median_handling_minutes,
        community.population_count,
        case
            when months.has_incidents = 1 and community.population_count > 0
                then cast(coalesce(incidents.incident_count, 0) as double) * 10000 / community.population_count
        end as incidents_per_10k,
        case when months.has_filings = 1 then coalesce(filings.enterprise_count, 0) end as enterprise_count,
        case when months.has_filings = 1 then coalesce(filings.late_filing_count, 0) end as late_filing_count,
        case when months.has_gauges = 1 then coalesce(gauges.gauge_count, 0) end as gauge_count,
        gauges.waterlogged_hour_count,
        gauges.rain_mm
    from months
    cross join community
    left join incidents on months.month = incidents.month and community.community_id = incidents.community_id
    left join gauges on months.month = gauges.month and community.community_id = gauges.community_id
    left join filings on months.month = filings.month and community.community_id = filings.community_id

)

select * from final
