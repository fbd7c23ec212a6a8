{#-
  Every registration a department sent for a device, each with the build in which it was first seen. Facts that depend on what was
  registered find through `_build_id` what a new registration changes; the base table cannot say so, because it marks a row again
  when a later one supersedes it.

  expected_from_at is when readings of the device can first be expected: the earliest day of installation or, where none was sent, time
  of registration that any of its registrations ever named.
-#}
{{ config(materialized='table') }}
{%- set columns = [
    'device_id', 'system', 'device_type', 'registered_at', 'community_code', 'cadence_minutes', 'alarm_level_m', 'alarm_level_pct',
    'expected_from_at',
] %}
{%- set earlier = as_left_before(columns) %}

with sent as (

    select
        device_id,
        'waterlogging' as system,
        device_type,
        modified_at,
        community_code,
        cadence_minutes,
        alarm_level_m,
        cast(null as double) as alarm_level_pct,
        installed_date,
        _load_id,
        _row
    from {{ ref('base_waterlogging__waterlogging_point') }}
    where _broken_rules is null
    union all
    select
        device_id,
        'fire_detection' as system,
        'smoke_detector' as device_type,
        modified_at,
        community_code,
        cadence_minutes,
        cast(null as double) as alarm_level_m,
        alarm_level_pct,
        installed_date,
        _load_id,
        _row
    from {{ ref('base_fire_detection__detector') }}
    where _broken_rules is null

),

registration as (

    select
        device_id,
        system,
        device_type,
        modified_at as registered_at,
        community_code,
        cadence_minutes,
        alarm_level_m,
        alarm_level_pct,
        min(coalesce({{ from_shanghai('cast(installed_date as ' ~ ts_type() ~ ')') }}, modified_at)) over (partition by device_id) as expected_from_at,
        row_number() over (partition by device_id, modified_at order by _load_id desc, _row desc) as newest_first
    from sent

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
    and registration.system = earlier.system
    and registration.device_type = earlier.device_type
    and registration.registered_at = earlier.registered_at
    and registration.community_code = earlier.community_code
    and registration.cadence_minutes = earlier.cadence_minutes
    and registration.expected_from_at = earlier.expected_from_at
    and coalesce(registration.alarm_level_m, -1) = coalesce(earlier.alarm_level_m, -1)
    and coalesce(registration.alarm_level_pct, -1) = coalesce(earlier.alarm_level_pct, -1)
{%- endif %}
where registration.newest_first = 1
