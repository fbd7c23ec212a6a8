-- A merged community names its successor of today, so that one step finds it; a current one names none.
select community_id
from {{ ref('dim_community') }}
where (valid_to is null) <> (merged_into_community_id is null)
    or merged_into_community_id in (select community_id from {{ ref('dim_community') }} where not is_current)
