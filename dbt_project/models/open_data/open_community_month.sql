{{ config(alias='community_month') }}
-- What other systems than the police's reported, and as they reported it: that the police know of an incident too, or of it first, changes
-- nothing here.
with incident as (

    select
        incident_id,
        max(case when is_first then incident_type_id end) as incident_type_id,
        max(case when is_first then community_id end) as community_id,
        min(occurred_month) as occurred_month
    from {{ ref('fct_incident_report') }}
    where system <> 'police_dispatch'
    group by incident_id

),

incident_type as (

    select
        incident_type_id,
        category_id,
        disclosure_unit
    from {{ ref('dim_incident_type') }}

),

disclosure_unit as (

    select * from {{ ref('disclosure_threshold') }}
    where in_community_month

),

category as (

    select * from {{ ref('publication_category') }}

),

community as (

    select
        community_id,
        subdistrict_id,
        name_zh,
        name_en,
        community_type_id,
        community_type_zh,
        is_ranked,
        population_count
    from {{ ref('dim_community') }}
    where is_current

),

-- A community's figures begin with the first of the communities that it is made of.
community_start as (

    select
        coalesce(merged_into_community_id, community_id) as community_id,
        {{ month_of_date('min(valid_from)') }} as start_month
    from {{ ref('dim_community') }}
    group by coalesce(merged_into_community_id, community_id)

),

data_start as (

    select min(occurred_month) as start_month from incident

),

-- Whole months only, from January of the year in which the data begin.
month as (

    select
        day.month,
        row_number() over (order by day.month) as position
    from {{ ref('dim_date') }} as day
    cross join data_start
    where day.month >= substr(data_start.start_month, 1, 4) || '-01'
    group by day.month
    having max(day.date_day) < {{ shanghai_day(as_of()) }}

),

-- What the cells hold. An incident without a known place or type is in no cell, nor is a type whose disclosure unit keeps out of them.
counted as (

    select
        incident.occurred_month as month,
        incident.community_id,
        incident_type.category_id,
        count(*) as incident_count,
        count(case when disclosure_unit.minimum_count > 0 then 1 end) as sensitive_count
    from incident
    inner join incident_type on incident.incident_type_id = incident_type.incident_type_id
    inner join disclosure_unit on incident_type.disclosure_unit = disclosure_unit.disclosure_unit
    group by incident.occurred_month, incident.community_id, incident_type.category_id

),

threshold as (

    select max(minimum_count) as minimum_count from disclosure_unit

),

cells as (

    select
        month.month,
        category.category_id,
        community.subdistrict_id,
        community.community_id,
        coalesce(counted.incident_count, 0) as incident_count,
        coalesce(counted.sensitive_count, 0) as sensitive_count,
        threshold.minimum_count
    from month
    inner join data_start on month.month >= data_start.start_month
    cross join community
    cross join category
    cross join threshold
    left join counted
        on month.month = counted.month
        and community.community_id = counted.community_id
        and category.category_id = counted.category_id
    where category.category_id <> 'all'

),

{{ withhold_small_cells('cells', ['month', 'category_id']) }},

-- All categories of an area are shown only where each of them is, so that none follows by subtraction.
judged as (

    select month, category_id, area_level, area_id, incident_count, is_withheld from suppressed
    union all
    select
        month,
        'all' as category_id,
        area_level,
        area_id,
        cast(sum(incident_count) as bigint) as incident_count,
        max(case when is_withheld then 1 else 0 end) = 1 as is_withheld
    from suppressed
    group by month, area_level, area_id

),

district as (

    select * from {{ ref('district') }}

),

subdistrict as (

    select
        subdistrict_id,
        name_zh,
        name_en
    from {{ ref('dim_subdistrict') }}

),

area as (

    select
        'community' as area_level,
        community.community_id as area_id,
        community.community_id as cell_area_id,
        community.name_zh as area_zh,
        community.name_en as area_en,
        community.subdistrict_id,
        subdistrict.name_zh as subdistrict_zh,
        community.community_id,
        community.community_type_id,
        community.community_type_zh,
        community.is_ranked,
        community.population_count,
        community_start.start_month
    from community
    inner join subdistrict on community.subdistrict_id = subdistrict.subdistrict_id
    inner join community_start on community.community_id = community_start.community_id
    union all
    select
        'subdistrict' as area_level,
        subdistrict.subdistrict_id as area_id,
        subdistrict.subdistrict_id as cell_area_id,
        subdistrict.name_zh as area_zh,
        subdistrict.name_en as area_en,
        subdistrict.subdistrict_id,
        subdistrict.name_zh as subdistrict_zh,
        cast(null as {{ text_type() }}) as community_id,
        cast(null as {{ text_type() }}) as community_type_id,
        cast(null as {{ text_type() }}) as community_type_zh,
        false as is_ranked,
        population.population_count,
        cast(null as {{ text_type() }}) as start_month
    from subdistrict
    inner join (
        select subdistrict_id, cast(sum(population_count) as bigint) as population_count from community group by subdistrict_id
    ) as population on subdistrict.subdistrict_id = population.subdistrict_id
    union all
    select
        'district' as area_level,
        district.district_id as area_id,
        '' as cell_area_id,
        district.name_zh as area_zh,
        district.name_en as area_en,
        cast(null as {{ text_type() }}) as subdistrict_id,
        cast(null as {{ text_type() }}) as subdistrict_zh,
        cast(null as {{ text_type() }}) as community_id,
        cast(null as {{ text_type() }}) as community_type_id,
        cast(null as {{ text_type() }}) as community_type_zh,
        false as is_ranked,
        population.population_count,
        cast(null as {{ text_type() }}) as start_month
    from district
    cross join (select cast(sum(population_count) as bigint) as population_count from community) as population

),

-- From here on a count exists only where it is shown.
published as (

    select
        month.month,
        month.position,
        category.category_id,
        category.name_zh as category_zh,
        category.name_en as category_en,
        area.area_level,
        area.area_id,
        area.area_zh,
        area.area_en,
        area.subdistrict_id,
        area.subdistrict_zh,
        area.community_id,
        area.community_type_id,
        area.community_type_zh,
        area.is_ranked,
        area.population_count,
        case
            when judged.incident_count is null then 'missing'
            when judged.is_withheld then 'withheld'
            when judged.incident_count = 0 and month.month < area.start_month then 'not_applicable'
            else 'shown'
        end as cell_status,
        case
            when not judged.is_withheld and not (judged.incident_count = 0 and month.month < coalesce(area.start_month, ''))
                then judged.incident_count
        end as incident_count
    from month
    cross join area
    cross join category
    left join judged
        on month.month = judged.month
        and category.category_id = judged.category_id
        and area.area_level = judged.area_level
        and area.cell_area_id = judged.area_id

),

rated as (

    select
        *,
        case when population_count > 0 then {{ rounded('cast(incident_count as double) * 10000 / population_count', 2) }} end as incidents_per_10k
    from published

),

ranked as (

    select
        month,
        category_id,
        area_level,
        area_id,
        cast(rank() over (partition by month, category_id, community_type_id order by incidents_per_10k) as bigint) as like_rank,
        count(*) over (partition by month, category_id, community_type_id) as like_count
    from rated
    where area_level = 'community' and is_ranked and incidents_per_10k is not null

),

final as (

    select
        rated.month,
        rated.area_level,
        rated.area_id,
        rated.area_zh,
        rated.area_en,
        rated.subdistrict_id,
        rated.subdistrict_zh,
        rated.community_id,
        rated.community_type_zh,
        rated.is_ranked,
        rated.category_id,
        rated.category_zh,
        rated.category_en,
        rated.incident_count,
        rated.cell_status,
        rated.incidents_per_10k,
        case when rated.cell_status = 'shown' then previous_month.incident_count end as previous_month_count,
        case when rated.cell_status = 'shown' then previous_year.incident_count end as previous_year_count,
        ranked.like_rank,
        ranked.like_count,
        case
            when rated.area_level <> 'community' or not rated.is_ranked then 'not_applicable'
            else rated.cell_status
        end as rank_status,
        rated.position = max(rated.position) over () as is_latest_month
    from rated
    left join published as previous_month
        on rated.position = previous_month.position + 1
        and rated.area_level = previous_month.area_level
        and rated.area_id = previous_month.area_id
        and rated.category_id = previous_month.category_id
    left join published as previous_year
        on rated.position = previous_year.position + 12
        and rated.area_level = previous_year.area_level
        and rated.area_id = previous_year.area_id
        and rated.category_id = previous_year.category_id
    left join ranked
        on rated.month = ranked.month
        and rated.category_id = ranked.category_id
        and rated.area_level = ranked.area_level
        and rated.area_id = ranked.area_id

)

select
    month,
    area_level,
    area_id,
    area_zh,
    area_en,
    subdistrict_id,
    subdistrict_zh,
    community_id,
    community_type_zh,
    is_ranked,
    category_id,
    category_zh,
    category_en,
    incident_count,
    cell_status,
    incidents_per_10k,
    previous_month_count,
    previous_year_count,
    case
        when previous_month_count > 0
            then {{ rounded('cast(incident_count - previous_month_count as double) * 100 / previous_month_count', 1) }}
    end as change_on_month_pct,
    case
        when previous_year_count > 0
            then {{ rounded('cast(incident_count - previous_year_count as double) * 100 / previous_year_count', 1) }}
    end as change_on_year_pct,
    like_rank,
    like_count,
    rank_status,
    is_latest_month
from final
