{#-
  Open incidents whose due time has passed, each with the build in which that was first seen. Time alone makes an incident overdue,
  with no new row to say so: facts list this model in `touched_by`, so that its days are computed again then.
-#}
{{ config(materialized='table') }}
{%- set earlier = as_left_before(['incident_id', 'due_at', '_day']) %}

with fallen_due as (

    select incident_id, due_at, _day
    from {{ ref('int_incidents_conformed') }}
    where is_open and due_at < {{ as_of() }}

)

select
    fallen_due.incident_id,
    fallen_due.due_at,
    fallen_due._day,
    cast({{ 'coalesce(earlier._build_id, ' ~ build_id() ~ ')' if earlier else build_id() }} as bigint) as _build_id
from fallen_due
{%- if earlier %}
left join {{ earlier }} as earlier
    on fallen_due.incident_id = earlier.incident_id and fallen_due.due_at = earlier.due_at and fallen_due._day = earlier._day
{%- endif %}
