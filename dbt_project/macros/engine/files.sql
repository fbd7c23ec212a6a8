{# The text of a file below the data folder, read by the engine itself. #}
{% macro read_file(path) -%}
    {%- set whole = env_var('SSC_DATA', '../data') ~ path -%}
    {%- do return(adapter.dispatch('read_file')(whole)) -%}
{%- endmacro %}
{% macro default__read_file(path) -%}
    {%- do return(run_query("select content from read_text('" ~ path ~ "')").columns[0].values()[0]) -%}
{%- endmacro %}
{% macro spark__read_file(path) -%}
    {%- do return(run_query("select value from text.`" ~ path ~ "` limit 1").columns[0].values()[0]) -%}
{%- endmacro %}

{# Where the files of a build lie, below the data folder. #}
{% macro work_folder() %}{{ return(adapter.dispatch('work_folder')()) }}{% endmacro %}
{% macro default__work_folder() %}{{ return('/work') }}{% endmacro %}
{% macro spark__work_folder() %}{{ return('/work/spark') }}{% endmacro %}

{# build.json as text. Models ask for it several times: Spark, where each reading is a job, is given it in the environment. #}
{% macro read_build() %}{{ return(adapter.dispatch('read_build')()) }}{% endmacro %}
{% macro default__read_build() %}{{ return(read_file(work_folder() ~ '/build.json')) }}{% endmacro %}
{% macro spark__read_build() %}{{ return(env_var('SSC_SPARK_BUILD')) }}{% endmacro %}

{# Rows of Parquet parts by name; a column that some parts lack is null there. #}
{% macro read_parts(files) %}{{ return(adapter.dispatch('read_parts')(files)) }}{% endmacro %}
{% macro default__read_parts(files) -%}
    read_parquet([{% for file in files %}'{{ file }}'{{ ', ' if not loop.last }}{% endfor %}], union_by_name = true)
{%- endmacro %}

{# An explicit list in braces: Spark expands it without listing any folder. Columns: spark.sql.parquet.mergeSchema in profiles.yml. #}
{% macro spark__read_parts(files) -%}
    {#- braces must not come first: a path that begins with one is taken for a relative one -#}
    {%- set paths = [] -%}
    {%- for file in files -%}{%- do paths.append(file[1:]) -%}{%- endfor -%}
    parquet.`{{ files[0] if files | length == 1 else '/{' ~ paths | join(',') ~ '}' }}`
{%- endmacro %}

{# The loads that this build takes of an entity, as a relation. #}
{% macro loads_table(entity) %}{{ return(adapter.dispatch('loads_table')(entity)) }}{% endmacro %}
{% macro default__loads_table(entity) -%}
    (
        select * from read_json('{{ env_var("SSC_DATA", "../data") }}{{ work_folder() }}/loads/{{ entity }}.json', format = 'array', columns = {
            load_id: 'varchar', window_since: 'timestamp', window_until: 'timestamp', landed_count: 'bigint', bytes: 'bigint',
            contract_version: 'varchar', is_demo: 'boolean', started_at: 'timestamp', ended_at: 'timestamp',
            added_columns: 'varchar', missing_columns: 'varchar'
        })
    )
{%- endmacro %}
{% macro spark__loads_table(entity) -%}
    (
        select
            taken.load_id,
            cast(taken.window_since as timestamp_ntz) as window_since,
            cast(taken.window_until as timestamp_ntz) as window_until,
            taken.landed_count,
            taken.bytes,
            taken.contract_version,
            taken.is_demo,
            cast(taken.started_at as timestamp_ntz) as started_at,
            cast(taken.ended_at as timestamp_ntz) as ended_at,
            taken.added_columns,
            taken.missing_columns
        from (
            select explode(from_json(value, 'array<struct<load_id string, window_since string, window_until string, landed_count bigint,
                bytes bigint, contract_version string, is_demo boolean, started_at string, ended_at string, added_columns string,
                missing_columns string>>')) as taken
            from text.`{{ env_var("SSC_DATA", "../data") }}{{ work_folder() }}/loads/{{ entity }}.json`
        ) as file
    )
{%- endmacro %}
