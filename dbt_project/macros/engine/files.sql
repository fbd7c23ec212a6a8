{# The text of a file below the data folder, read by the engine itself. #}
{% macro read_file(path) -%}
    {%- set whole = env_var('SSC_DATA', '../data') ~ path -%}
    {%- do return(adapter.dispatch('read_file')(whole)) -%}
{%- endmacro %}
{% macro default__read_file(path) -%}
    {%- do return(run_query("select content from read_text('" ~ path ~ "')").columns[0].values()[0]) -%}
{%- endmacro %}
{% macro spark__read_file(path) -%}
    {%- do return(run_query("select array_join(collect_list(value), '') from text.`" ~ path ~ "`").columns[0].values()[0]) -%}
{%- endmacro %}

{# Rows of Parquet parts by name; a column that some parts lack is null there. #}
{% macro read_parts(files) %}{{ return(adapter.dispatch('read_parts')(files)) }}{% endmacro %}
{% macro default__read_parts(files) -%}
    read_parquet([{% for file in files %}'{{ file }}'{{ ', ' if not loop.last }}{% endfor %}], union_by_name = true)
{%- endmacro %}

{# The loads that this build takes of an entity, as a relation. #}
{% macro loads_table(entity) %}{{ return(adapter.dispatch('loads_table')(entity)) }}{% endmacro %}
{% macro default__loads_table(entity) -%}
    (
        select * from read_json('{{ env_var("SSC_DATA", "../data") }}/work/loads/{{ entity }}.json', format = 'array', columns = {
            load_id: 'varchar', window_since: 'timestamp', window_until: 'timestamp', landed_count: 'bigint', bytes: 'bigint',
            contract_version: 'varchar', is_demo: 'boolean', started_at: 'timestamp', ended_at: 'timestamp',
            added_columns: 'varchar', missing_columns: 'varchar'
        })
    )
{%- endmacro %}
