{%- set touched_by = [
    'base_grid_management__grid_event', 'base_urban_management__service_request', 'base_police_dispatch__dispatch',
    'int_incidents_regrouped',
] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='occurred_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with report as (

    select * from {{ ref('int_incident_reports_conformed') }}
    where {{ is_touched('_day') }}

)

select
    report_id,
    incident_id,
    system,
    source_record_id,
    is_first,
    incident_type_id,
    source_incident_type_code,
    is_type_known,
    community_id,
    source_community_id,
    occurred_at,
    reported_at,
    accepted_at,
    arrived_at,
    closed_at,
    due_at,
    status,
    {{ shanghai_day('occurred_at') }} as occurred_date,
    {{ shanghai_month('occurred_at') }} as occurred_month
from report
