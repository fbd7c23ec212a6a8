{#
  What a build writes beside its tables, where the engines differ: settled versions, an entity's ledger, and the build log. DuckDB
  does it by UPDATE and DELETE in the model's transaction (macros/base.sql, macros/build.sql); Spark's forms are here, its tables in
  spark_tables.sql.
#}
{% macro settle_versions() %}{{ return(adapter.dispatch('settle_versions')()) }}{% endmacro %}
{# Done while the rows are added: spark_settled. #}
{% macro spark__settle_versions() %}{% endmacro %}

{% macro write_ledger() %}{{ return(adapter.dispatch('write_ledger')()) }}{% endmacro %}
{#
  After the rows, the counts of their days; after these, the loads: one that is not in the ledger is taken again, which changes
  nothing. Both lie by month, and a month's new content is put together in a scratch table first. The counts hold the build that last
  wrote or changed rows of a day, so that facts find touched days without reading the rows.
#}
{% macro spark__write_ledger() -%}
    {%- set entity = config.get('meta')['entity'] -%}
    {%- set loads, counts, new = ledger_loads(entity), ledger_counts(entity), new_loads(entity) -%}
    {%- if new -%}
        {%- set counted = '_load_id, _day, count(*) filter (where not _is_superseded and _broken_rules is null), '
            ~ 'count(*) filter (where not _is_superseded and _broken_rules is not null), '
            ~ 'count(*) filter (where _is_superseded), max(_build_id), ' ~ month_of_date('_day') ~ ' from ' ~ this -%}
        {%- set taken = 'select *, ' ~ month_of_date('window_until') ~ ' as month from ' ~ loads_table(entity) ~ ' as taken' -%}
        {%- if is_incremental() -%}
            {%- set next_counts, next_loads = spark_ledger_scratch(entity, 'counts'), spark_ledger_scratch(entity, 'loads') -%}
            {%- do run_query('create table if not exists ' ~ next_counts ~ ' (' ~ spark_counts_columns() ~ ') using parquet') -%}
            {%- do run_query('create table if not exists ' ~ next_loads ~ ' (' ~ spark_loads_columns() ~ ') using parquet') -%}
            {%- do run_query(
                'insert overwrite ' ~ next_counts ~ ' with touched as (select distinct _day from ' ~ this ~ ' where _build_id > '
                ~ built_up_to(this) ~ ') select ' ~ counted ~ ' where _day in (select _day from touched) group by _load_id, _day'
                ~ ' union all select * from ' ~ counts ~ ' where month in (select ' ~ month_of_date('_day') ~ ' from touched)'
                ~ ' and _day not in (select _day from touched)'
            ) -%}
            {%- do run_query('insert overwrite table ' ~ counts ~ ' partition (month) select /*+ coalesce(1) */ * from ' ~ next_counts) -%}
            {%- do run_query(
                'insert overwrite ' ~ next_loads ~ ' with taken as (' ~ taken ~ ') select * from taken union all select * from ' ~ loads
                ~ ' where month in (select month from taken) and load_id not in (select load_id from taken)'
            ) -%}
    insert overwrite table {{ loads }} partition (month) select /*+ coalesce(1) */ * from {{ next_loads }}
        {%- else -%}
            {%- do run_query('insert overwrite table ' ~ counts ~ ' partition (month) select ' ~ counted ~ ' group by _load_id, _day') -%}
    insert overwrite table {{ loads }} partition (month) {{ taken }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro spark_ledger_scratch(entity, table) -%}
    internal.ledger__{{ entity }}__{{ table }}
{%- endmacro %}

{% macro spark_loads_columns() -%}
    load_id string, window_since timestamp_ntz, window_until timestamp_ntz, landed_count bigint, bytes bigint, contract_version string,
    is_demo boolean, started_at timestamp_ntz, ended_at timestamp_ntz, added_columns string, missing_columns string, month string
{%- endmacro %}
{% macro spark_counts_columns() -%}
    load_id string, _day date, staged_count bigint, quarantined_count bigint, superseded_count bigint, _build_id bigint, month string
{%- endmacro %}

{# An entity's ledger, empty: before its base table is made, and before one that must be made anew is dropped. #}
{% macro spark_new_ledger(entity) -%}
    {%- for table, columns in [
        (ledger_loads(entity), spark_loads_columns()), (ledger_counts(entity), spark_counts_columns()),
    ] -%}
        {%- do run_query('drop table if exists ' ~ table) -%}
        {%- do run_query(
            'create table ' ~ table ~ ' (' ~ columns ~ ") using parquet options (partitionOverwriteMode 'dynamic') partitioned by (month)"
        ) -%}
    {%- endfor -%}
{%- endmacro %}

{# What says which days of a model a build wrote or changed: `_day` and `_build_id`. #}
{% macro touched_in(model) %}{{ return(adapter.dispatch('touched_in')(model)) }}{% endmacro %}
{% macro default__touched_in(model) %}{{ ref(model) }}{% endmacro %}
{% macro spark__touched_in(model) -%}
    {{ ledger_counts(model[5:]) if model.startswith('base_') else ref(model) }}
{%- endmacro %}

{% macro built_up_to(relation) %}{{ return(adapter.dispatch('built_up_to')(relation)) }}{% endmacro %}
{% macro spark__built_up_to(relation) -%}
    {{ spark_properties(relation).get('build_id', 0) if execute and load_cached_relation(relation) else 0 }}
{%- endmacro %}

{% macro mark_built() %}{{ return(adapter.dispatch('mark_built')()) }}{% endmacro %}
{% macro spark__mark_built() -%}
    {%- set context = build_context() -%}
    {{ spark_note_sql(this, {
        'build_id': context['build_id'], 'fingerprint': context['fingerprints'].get(this.identifier, ''), 'next': 'open'
    }) }}
{%- endmacro %}

{% macro prepare_build_log() %}{{ return(adapter.dispatch('prepare_build_log')()) }}{% endmacro %}
{#
  Models that must be built anew lose their tables before dbt compiles them, a base model its ledger first: while its table stands,
  the next build sees again that it must go.
#}
{% macro spark__prepare_build_log() -%}
    {%- if execute -%}
        {%- for schema in ['internal', 'ledger'] -%}{%- do run_query('create schema if not exists ' ~ schema) -%}{%- endfor -%}
        {%- set rebuild = build_context().get('rebuild', []) -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name in rebuild -%}
            {%- set relation = load_relation(api.Relation.create(schema=node.schema, identifier=node.alias)) -%}
            {%- if node.name.startswith('base_') -%}{%- do spark_new_ledger(node.config.meta['entity']) -%}{%- endif -%}
            {%- if relation -%}{%- do adapter.drop_relation(relation) -%}{%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro note_whole() %}{{ return(adapter.dispatch('note_whole')()) }}{% endmacro %}
{% macro default__note_whole() -%}
    delete from {{ build_log(model_in('warehouse')) }} where model = '_project';
    insert into {{ build_log(model_in('warehouse')) }} (model, build_id, fingerprint)
    values ('_project', {{ build_id() }}, '{{ build_context()["fingerprints"].get("_project", "") }}')
{%- endmacro %}
{% macro spark__note_whole() -%}
    alter schema internal set dbproperties (
        'ssc.build_id' = '{{ build_id() }}', 'ssc.fingerprint' = '{{ build_context()["fingerprints"].get("_project", "") }}'
    )
{%- endmacro %}
