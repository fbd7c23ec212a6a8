with added as (

    {{ split_to_rows(ref('int_load_ledger'), ['system', 'entity', 'load_id'], 'added_columns') }}

),

missing as (

    {{ split_to_rows(ref('int_load_ledger'), ['system', 'entity', 'load_id'], 'missing_columns') }}

)

select system, entity, load_id, item as column_name, 'added' as change from added
union all
select system, entity, load_id, item as column_name, 'missing' as change from missing
