{#- The tile map: a grid of equal cells around the district. It shows neighbourhoods, not shapes or distances. -#}
{%- set centre_lon, centre_lat, cell_lon, cell_lat = 114.05, 22.54, 0.0100, 0.0092 -%}
{%- set centre_x, centre_y = 6, 4 -%}
{%- set corners = [(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)] -%}
with community as (

    select * from {{ ref('community') }}

),

community_type as (

    select * from {{ ref('community_type') }}

),

subdistrict as (

    select * from {{ ref('subdistrict') }}

),

final as (

    select
        community.community_id,
        community.subdistrict_id,
        replace(community.name_full_zh, '居委会', '') as name_zh,
        community.name_full_zh,
        community.name_en,
        community.community_type_id,
        community_type.name_zh as community_type_zh,
        community_type.name_en as community_type_en,
        community.population_count,
        community.household_count,
        community.is_virtual,
        community.is_generated,
        community.valid_to is null and not community.is_virtual and subdistrict.is_ranked as is_ranked,
        community.valid_to is null as is_current,
        community.valid_from,
        community.valid_to,
        community.merged_into_community_id,
        community.tile_x,
        community.tile_y,
        case
            when community.tile_x is not null then
                '['
                {%- for right, down in corners %}
                || '['
                || cast(cast({{ centre_lon }} + (community.tile_x + {{ right }} - {{ centre_x }}) * {{ cell_lon }} as decimal(9, 4)) as {{ text_type() }})
                || ','
                || cast(cast({{ centre_lat }} - (community.tile_y + {{ down }} - {{ centre_y }}) * {{ cell_lat }} as decimal(9, 4)) as {{ text_type() }})
                || ']{{ ',' if not loop.last }}'
                {%- endfor %}
                || ']'
        end as polygon_json
    from community
    inner join subdistrict on community.subdistrict_id = subdistrict.subdistrict_id
    left join community_type on community.community_type_id = community_type.community_type_id

)

select
    community_id,
    subdistrict_id,
    name_zh,
    name_full_zh,
    name_en,
    community_type_id,
    community_type_zh,
    community_type_en,
    population_count,
    household_count,
    is_virtual,
    is_generated,
    is_ranked,
    is_current,
    valid_from,
    valid_to,
    merged_into_community_id,
    tile_x,
    tile_y,
    polygon_json
from final
