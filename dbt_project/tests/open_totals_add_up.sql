-- Where a total and all of its parts are shown, the parts add up to it: over areas, and over categories.
with cell as (

    select * from {{ ref('open_community_month') }}

),

parts as (

    select month, category_id, 'subdistrict' as area_level, subdistrict_id as area_id, incident_count, cell_status
    from cell where area_level = 'community'
    union all
    select part.month, part.category_id, 'district' as area_level, district.district_id as area_id, part.incident_count, part.cell_status
    from cell as part
    cross join {{ ref('district') }} as district
    where part.area_level = 'subdistrict'

),

summed as (

    select month, category_id, area_level, area_id, sum(incident_count) as incident_count
    from parts
    group by month, category_id, area_level, area_id
    having count(*) = count(incident_count)
    union all
    select month, 'all' as category_id, area_level, area_id, sum(incident_count) as incident_count
    from cell
    where category_id <> 'all'
    group by month, area_level, area_id
    having count(*) = count(incident_count)

)

select summed.*, cell.incident_count as total_count
from summed
inner join cell
    on summed.month = cell.month
    and summed.category_id = cell.category_id
    and summed.area_level = cell.area_level
    and summed.area_id = cell.area_id
where cell.incident_count <> summed.incident_count
