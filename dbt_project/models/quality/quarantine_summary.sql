with broken as (

    {{ split_to_rows(ref('int_quarantined_rows'), ['system', 'entity', '_day', 'row_count'], '_broken_rules') }}

)

select
    system,
    entity,
    _day as day,
    item as broken_rule,
    cast(sum(row_count) as bigint) as row_count
from broken
group by system, entity, _day, item
