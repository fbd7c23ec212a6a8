-- Names of communities as people typed them, and the community of today that each means: with or without 社区, 居委会 or the
-- subdistrict in front, or the code itself. A name that fits none, or more than one, means none.
with typed as (

    select community_name as source_place from {{ ref('stg_ground_collapse__collapse') }}
    union
    select community_name as source_place from {{ ref('stg_ground_collapse__void_survey') }}
    union
    select community_name as source_place from {{ ref('stg_ground_collapse__settlement_reading') }}

),

community as (

    select
        community.community_id as source_community_id,
        coalesce(community.merged_into_community_id, community.community_id) as community_id,
        {{ bare_community_name('community.name_full_zh') }} as bare_name,
        subdistrict.name_zh || {{ bare_community_name('community.name_full_zh') }} as name_with_subdistrict,
        replace(subdistrict.name_zh, '街道', '') || {{ bare_community_name('community.name_full_zh') }} as name_with_short_subdistrict
    from {{ ref('community') }} as community
    inner join {{ ref('subdistrict') }} as subdistrict on community.subdistrict_id = subdistrict.subdistrict_id

),

bare as (

    select
        source_place,
        {{ bare_community_name('source_place') }} as bare_name
    from typed

),

fitting as (

    select
        bare.source_place,
        community.community_id
    from bare
    inner join community
        on bare.bare_name in (
            community.bare_name, community.name_with_subdistrict, community.name_with_short_subdistrict, community.source_community_id
        )

)

select
    source_place,
    min(community_id) as community_id
from fitting
group by source_place
having min(community_id) = max(community_id)
