-- Nothing of a cell that is not shown leaves: no count, rate, change or rank.
select *
from {{ ref('open_community_month') }}
where (cell_status = 'shown') <> (incident_count is not null)
    or (
        cell_status <> 'shown'
        and coalesce(incidents_per_10k, previous_month_count, previous_year_count, change_on_month_pct, change_on_year_pct, like_rank, like_count)
        is not null
    )
    or (rank_status = 'shown') <> (like_rank is not null)
