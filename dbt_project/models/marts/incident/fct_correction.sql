-- Every correction that was made by rule, from what stands corrected now. corrected_at goes by the loads that brought the data, so that
-- it is the same whichever build saw them first.
with load as (

    select
        system,
        entity,
        load_id,
        window_until
    from {{ ref('int_load_ledger') }}

),

joined as (

    select * from {{ ref('int_incident_reports_conformed') }}
    where not is_first

),

naming_arrived as (

    select
        'urban_management' as system,
        named.service_request_id as source_record_id,
        named.linked_record_code,
        min(load.window_until) as arrived_at
    from {{ ref('base_urban_management__service_request') }} as named
    inner join load on load.system = 'urban_management' and load.entity = 'service_request' and named._load_id = load.load_id
    where named.linked_record_code is not null and named._broken_rules is null
    group by named.service_request_id, named.linked_record_code
    union all
    select
        'police_dispatch' as system,
        named.dispatch_id as source_record_id,
        named.linked_record_code,
        min(load.window_until) as arrived_at
    from {{ ref('base_police_dispatch__dispatch') }} as named
    inner join load on load.system = 'police_dispatch' and load.entity = 'dispatch' and named._load_id = load.load_id
    where named.linked_record_code is not null and named._broken_rules is null
    group by named.dispatch_id, named.linked_record_code

),

named_arrived as (

    select
        event.event_id,
        min(load.window_until) as arrived_at
    from {{ ref('base_grid_management__grid_event') }} as event
    inner join (select distinct linked_record_code from joined) as named on event.event_id = named.linked_record_code
    inner join load on load.system = 'grid_management' and load.entity = 'grid_event' and event._load_id = load.load_id
    where event._broken_rules is null
    group by event.event_id

),

same_incident as (

    select
        'same_incident' as rule,
        joined.system,
        joined.source_record_id,
        'incident_id' as field,
        joined.report_id as before_value,
        joined.incident_id as after_value,
        joined.community_id,
        greatest(naming_arrived.arrived_at, named_arrived.arrived_at) as corrected_at
    from joined
    inner join naming_arrived
        on joined.system = naming_arrived.system
        and joined.source_record_id = naming_arrived.source_record_id
        and joined.linked_record_code = naming_arrived.linked_record_code
    inner join named_arrived on joined.linked_record_code = named_arrived.event_id

),

hazard as (

    select
        hazard.*,
        load.window_until as corrected_at
    from {{ ref('int_hazards_conformed') }} as hazard
    inner join load
        on hazard.system = load.system
        and load.entity = case when hazard.hazard_kind = 'collapse' then 'collapse' else 'void_survey' end
        and hazard._load_id = load.load_id

),

community as (

    select * from {{ ref('community') }}

),

-- A name that is the official one of a community of today needed no correction.
community_name as (

    select
        'community_name' as rule,
        hazard.system,
        hazard.source_record_id,
        'community_id' as field,
        hazard.source_place as before_value,
        hazard.community_id as after_value,
        hazard.community_id,
        hazard.corrected_at
    from hazard
    inner join community on hazard.community_id = community.community_id
    where hazard.source_place not in (community.name_full_zh, replace(community.name_full_zh, '居委会', ''))

),

hazard_grade as (

    select
        'hazard_grade' as rule,
        system,
        source_record_id,
        'grade' as field,
        source_grade as before_value,
        cast(grade as {{ text_type() }}) as after_value,
        community_id,
        corrected_at
    from hazard
    where grade is not null and source_grade not in ('一级', '二级', '三级', '四级')

),

final as (

    select * from same_incident
    union all
    select * from community_name
    union all
    select * from hazard_grade

)

select
    {{ stable_id(['rule', 'system', 'source_record_id', 'field', 'after_value']) }} as correction_id,
    rule,
    system,
    source_record_id,
    field,
    before_value,
    after_value,
    community_id,
    corrected_at
from final
