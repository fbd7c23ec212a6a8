{{ config(alias='freshness') }}
-- One row for each system: as late as its latest entity.
with freshness as (

    select
        system,
        max(latest_event_at) as latest_event_at,
        min(window_until) as window_until,
        max(case when is_late then 1 else 0 end) = 1 as is_late
    from {{ ref('freshness') }}
    group by system

),

system as (

    select * from {{ ref('governance_system') }}

)

select
    system.system,
    system.name_zh,
    system.name_en,
    system.department_zh,
    freshness.latest_event_at,
    freshness.window_until,
    system.frequency_minutes,
    coalesce(freshness.is_late, true) as is_late,
    {{ as_of() }} as as_of
from system
left join freshness on system.system = freshness.system
