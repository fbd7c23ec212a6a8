-- An unknown community or type code is possible but suspicious: analysts read of it, nothing is blocked.
{{ config(severity='warn') }}
select system, source_community_id, source_incident_type_code, count(*) as incident_count
from {{ ref('fct_incident') }}
where community_id is null or incident_type_id is null
group by system, source_community_id, source_incident_type_code
