-- What nothing here knows, counted in current whole records: codes of incident types and communities, and what was typed by hand.
with unknown as (

    select system, 'incident_type' as code_kind, source_incident_type_code as source_code, occurred_date as seen_date
    from {{ ref('fct_incident_report') }}
    where not is_type_known
    union all
    select system, 'community' as code_kind, source_community_id as source_code, occurred_date as seen_date
    from {{ ref('fct_incident_report') }}
    where community_id is null
    union all
    select system, 'community_name' as code_kind, source_place as source_code, found_date as seen_date
    from {{ ref('fct_ground_hazard') }}
    where community_id is null
    union all
    select system, 'community_name' as code_kind, source_place as source_code, measured_date as seen_date
    from {{ ref('fct_settlement') }}
    where community_id is null
    union all
    select system, 'hazard_grade' as code_kind, source_grade as source_code, found_date as seen_date
    from {{ ref('fct_ground_hazard') }}
    where grade is null

)

select
    system,
    code_kind,
    source_code,
    count(*) as record_count,
    min(seen_date) as first_seen_date,
    max(seen_date) as last_seen_date
from unknown
group by system, code_kind, source_code
