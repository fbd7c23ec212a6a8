{#-
  Every registration a department sent for a device, each with the build in which it was first seen. Facts that depend on what was
  registered find through `_build_id` what a new registration changes; the base table cannot say so, because it marks a row again
  when a later one supersedes it.
-#}
{{ config(materialized='table') }}
{%- set earlier = none if should_full_refresh() else load_relation(this) %}
{%- set columns = ['device_id', 'registered_at', 'community_code', 'cadence_minutes', 'alarm_level_m'] %}

with registration as (

    select
        device_id,
        modified_at as registered_at,
        community_code,
        cadence_minutes,
        alarm_level_m,
        row_number() over (partition by device_id, modified_at order by _load_id desc, _row desc) as newest_first
    from {{ ref('base_waterlogging__waterlogging_point') }}
    where _broken_rules is null

)

select
    {%- for column in columns %}
    registration.{{ column }},
    {%- endfor %}
    cast({{ 'coalesce(earlier._build_id, ' ~ build_id() ~ ')' if earlier else build_id() }} as bigint) as _build_id
from registration
{%- if earlier %}
left join {{ earlier }} as earlier
    on registration.device_id = earlier.device_id
    and registration.registered_at = earlier.registered_at
    and registration.community_code = earlier.community_code
    and registration.cadence_minutes = earlier.cadence_minutes
    and coalesce(registration.alarm_level_m, -1) = coalesce(earlier.alarm_level_m, -1)
{%- endif %}
where registration.newest_first = 1
