-- All categories of an area are shown exactly where each of the four is.
select month, area_level, area_id
from {{ ref('open_community_month') }}
group by month, area_level, area_id
having (count(case when category_id <> 'all' and cell_status in ('withheld', 'missing') then 1 end) = 0)
    <> (max(case when category_id = 'all' then cell_status end) not in ('withheld', 'missing'))
