-- Collapses and voids in one shape, their grade and community read from what was typed.
with typed as (

    select
        'collapse' as hazard_kind,
        collapse_code as source_record_id,
        community_name as source_place,
        location_zh,
        found_date,
        grade_text as source_grade,
        mitigated_date as treated_date,
        length_m,
        width_m,
        depth_m,
        length_m * width_m as area_m2,
        cause,
        casualty_count,
        _load_id
    from {{ ref('stg_ground_collapse__collapse') }}
    union all
    select
        'void' as hazard_kind,
        void_code as source_record_id,
        community_name as source_place,
        location_zh,
        surveyed_date as found_date,
        grade_text as source_grade,
        treated_date,
        cast(null as double) as length_m,
        cast(null as double) as width_m,
        depth_m,
        area_m2,
        cast(null as {{ text_type() }}) as cause,
        cast(null as bigint) as casualty_count,
        _load_id
    from {{ ref('stg_ground_collapse__void_survey') }}

)

select
    'ground_collapse:' || typed.source_record_id as hazard_id,
    'ground_collapse' as system,
    typed.*,
    cast({{ grade_of('typed.source_grade') }} as bigint) as grade,
    place.community_id
from typed
left join {{ ref('int_places_named') }} as place on typed.source_place = place.source_place
