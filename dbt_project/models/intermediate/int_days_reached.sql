{#-
  The days of each system of devices as far as it has reached, each with the build in which it was first reached so far. Time alone turns
  a day of silence into one, with no new row to say so: facts by device and day list this model in `touched_by`.
-#}
{{ config(materialized='table') }}
{%- set earlier = as_left_before(['system', '_day', 'start_at', 'until_at']) %}

with day as (

    select
        reached.system,
        calendar.date_day as _day,
        {{ from_shanghai('cast(calendar.date_day as ' ~ ts_type() ~ ')') }} as start_at,
        least({{ from_shanghai('cast(calendar.date_day as ' ~ ts_type() ~ ')') }} + interval 24 hour, reached.reached_at) as until_at
    from {{ ref('int_systems_reached') }} as reached
    inner join {{ ref('dim_date') }} as calendar
        on calendar.date_day >= reached.first_date and calendar.date_day <= {{ shanghai_day('reached.reached_at') }}

)

select
    day.system,
    day._day,
    day.start_at,
    day.until_at,
    cast({{ 'coalesce(earlier._build_id, ' ~ build_id() ~ ')' if earlier else build_id() }} as bigint) as _build_id
from day
{%- if earlier %}
left join {{ earlier }} as earlier
    on day.system = earlier.system and day._day = earlier._day and day.until_at = earlier.until_at
{%- endif %}
