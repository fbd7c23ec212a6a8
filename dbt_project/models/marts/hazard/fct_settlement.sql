with reading as (

    select
        *,
        lag(measured_date) over (partition by point_code order by measured_date) as previous_date
    from {{ ref('stg_ground_collapse__settlement_reading') }}

),

final as (

    select
        reading.point_code as point_id,
        reading.measured_date,
        'ground_collapse' as system,
        place.community_id,
        reading.community_name as source_place,
        reading.settlement_mm,
        reading.cumulative_mm,
        {{ days_between('reading.previous_date', 'reading.measured_date') }} as days_since_previous
    from reading
    left join {{ ref('int_places_named') }} as place on reading.community_name = place.source_place

)

select
    point_id,
    measured_date,
    system,
    community_id,
    source_place,
    settlement_mm,
    cumulative_mm,
    days_since_previous,
    settlement_mm / days_since_previous as rate_mm_per_day
from final
