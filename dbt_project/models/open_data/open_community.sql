{{ config(alias='community') }}
select
    community.community_id,
    community.subdistrict_id,
    subdistrict.name_zh as subdistrict_zh,
    subdistrict.name_en as subdistrict_en,
    community.name_zh,
    community.name_en,
    community.community_type_zh,
    community.community_type_en,
    community.is_ranked,
    community.is_virtual,
    community.polygon_json
from {{ ref('dim_community') }} as community
inner join {{ ref('dim_subdistrict') }} as subdistrict on community.subdistrict_id = subdistrict.subdistrict_id
where community.is_current
