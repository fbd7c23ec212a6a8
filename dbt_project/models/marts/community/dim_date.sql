-- Fixed bounds: the calendar must not depend on when it is built. 2018-01-01 is a Monday.
with spine as (

    {{ dbt.date_spine('day', "cast('2018-01-01' as date)", "cast('2041-01-01' as date)") }}

),

days as (

    select
        cast(date_day as date) as date_day,
        mod({{ dbt.datediff("cast('2018-01-01' as date)", 'cast(date_day as date)', 'day') }}, 7) + 1 as weekday
    from spine

),

thursdays as (

    select
        date_day,
        weekday,
        cast({{ dbt.dateadd('day', '4 - weekday', 'date_day') }} as date) as thursday
    from days

),

final as (

    select
        date_day,
        {{ month_of_date('date_day') }} as month,
        cast(extract(year from date_day) as {{ text_type() }}) || '-Q' || cast(extract(quarter from date_day) as {{ text_type() }}) as quarter,
        cast(extract(year from date_day) as bigint) as year,
        cast(extract(year from thursday) as {{ text_type() }}) || '-W'
        || lpad(cast(extract(week from date_day) as {{ text_type() }}), 2, '0') as iso_week,
        cast(weekday as bigint) as weekday,
        weekday >= 6 as is_weekend
    from thursdays

)

select * from final
