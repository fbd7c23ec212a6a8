{%- set touched_by = [
    'base_grid_management__grid_event', 'base_urban_management__service_request', 'base_police_dispatch__dispatch',
    'int_incidents_regrouped', 'int_incidents_fallen_due',
] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='occurred_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with incident as (

    select * from {{ ref('int_incidents_conformed') }}
    where {{ is_touched('_day') }}

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
        {{ shanghai_day('occurred_at') }} as occurred_date,
        {{ shanghai_month('occurred_at') }} as occurred_month,
        status,
        case
            when closed_at >= coalesce(accepted_at, reported_at)
                then {{ minutes_between('coalesce(accepted_at, reported_at)', 'closed_at') }}
        end as handling_minutes,
        coalesce(
            case
                when closed_at is not null then closed_at > due_at
                when is_open then {{ as_of() }} > due_at
            end,
            false
        ) as is_overdue,
        department_id,
        is_open,
        report_count,
        source_count
    from incident

)

select * from final
