with subdistrict as (

    select * from {{ ref('subdistrict') }}

),

communities as (

    select
        subdistrict_id,
        count(*) as community_count
    from {{ ref('community') }}
    where valid_to is null and not is_virtual
    group by subdistrict_id

),

final as (

    select
        subdistrict.subdistrict_id,
        subdistrict.name_zh,
        subdistrict.name_en,
        subdistrict.is_ranked,
        coalesce(communities.community_count, 0) as community_count
    from subdistrict
    left join communities on subdistrict.subdistrict_id = communities.subdistrict_id

)

select * from final
