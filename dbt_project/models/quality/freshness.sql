{%- set reached = 'case when latest.is_steady and latest.latest_event_at < newest.window_until then latest.latest_event_at else newest.window_until end' -%}
-- An entity is late when its newest window ended longer ago than one period and the agreed latency together allow. Devices report
-- steadily: there the newest reading counts, so that a folder into which nobody puts files any more is seen.
with newest as (

    select
        system,
        entity,
        max(load_id) as latest_load_id,
        max(window_until) as window_until
    from {{ ref('int_load_ledger') }}
    group by system, entity

),

measured as (

    select
        newest.system,
        newest.entity,
        newest.latest_load_id,
        newest.window_until,
        latest.latest_event_at,
        cast(floor({{ minutes_between(reached, as_of()) }}) as bigint) as lag_minutes,
        cast(agreed.frequency_minutes + agreed.latency_minutes as bigint) as allowed_minutes
    from newest
    inner join {{ ref('catalogue_system') }} as agreed on newest.system = agreed.system
    left join {{ ref('int_latest_event') }} as latest on newest.system = latest.system and newest.entity = latest.entity

)

select
    system,
    entity,
    latest_load_id,
    window_until,
    latest_event_at,
    lag_minutes,
    allowed_minutes,
    lag_minutes > allowed_minutes as is_late
from measured
