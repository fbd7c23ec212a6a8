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

    select
        system,
        name_zh,
        name_en,
        department_zh,
        frequency_minutes
    from {{ ref('governance_system') }}

)

select
    described.system,
    described.name_zh,
    described.name_en,
    described.department_zh,
    described.department_en,
    freshness.latest_event_at,
    freshness.window_until,
    described.frequency_minutes,
    coalesce(freshness.is_late, true) as is_late,
    {{ as_of() }} as as_of
from {{ ref('governance_system') }} as described
left join freshness on described.system = freshness.system
