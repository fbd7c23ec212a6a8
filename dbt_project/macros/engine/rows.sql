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
  nothing. Loads lie by the month in which their windows end, so that a new one rewrites a month of the ledger.
#}
{% macro spark__write_ledger() -%}
    {%- set entity = config.get('meta')['entity'] -%}
    {%- set loads, counts = ledger_loads(entity), ledger_counts(entity) -%}
    {%- set new = new_loads(entity) -%}
    {%- if new -%}
        {%- set next = 'internal.ledger__' ~ entity ~ '__next' -%}
        {%- set touched -%}
            {% if is_incremental() %}where _day in (select _day from {{ this }} where _build_id > {{ built_up_to(this) }}){% endif %}
        {%- endset -%}
        {%- do run_query(
            'insert overwrite table ' ~ counts ~ ' partition (_day) select /*+ rebalance(_day) */ _load_id, '
            ~ 'count(*) filter (where not _is_superseded and _broken_rules is null), '
            ~ 'count(*) filter (where not _is_superseded and _broken_rules is not null), '
            ~ 'count(*) filter (where _is_superseded), _day from ' ~ this ~ ' ' ~ touched ~ ' group by _load_id, _day'
        ) -%}
        {%- do run_query(
            'insert overwrite ' ~ next ~ ' select ' ~ spark_ledger_columns() | join(', ') ~ ', '
            ~ month_of_date('window_until') ~ ' from ' ~ loads_table(entity) ~ ' as taken union all select * from ' ~ loads
            ~ ' where until_month in (select ' ~ month_of_date('window_until') ~ ' from ' ~ loads_table(entity) ~ ' as taken)'
            ~ " and load_id not in ('" ~ new | map(attribute='load_id') | join("', '") ~ "')"
        ) -%}
    insert overwrite table {{ loads }} partition (until_month) select /*+ coalesce(1) */ * from {{ next }}
    {%- endif -%}
{%- endmacro %}

{% macro spark_ledger_columns() -%}
    {%- do return([
        'load_id', 'window_since', 'window_until', 'landed_count', 'bytes', 'contract_version', 'is_demo', 'started_at', 'ended_at',
        'added_columns', 'missing_columns',
    ]) -%}
{%- endmacro %}

{# An entity's ledger, empty: before its base table is made, and before one that must be made anew is dropped. #}
{% macro spark_new_ledger(entity) -%}
    {%- set definitions -%}
        load_id string, window_since timestamp_ntz, window_until timestamp_ntz, landed_count bigint, bytes bigint,
        contract_version string, is_demo boolean, started_at timestamp_ntz, ended_at timestamp_ntz, added_columns string,
        missing_columns string, until_month string
    {%- endset -%}
    {%- set next = 'internal.ledger__' ~ entity ~ '__next' -%}
    {%- for table in [ledger_loads(entity), ledger_counts(entity), next] -%}
        {%- do run_query('drop table if exists ' ~ table) -%}
    {%- endfor -%}
    {%- do run_query('create table ' ~ ledger_loads(entity) ~ ' (' ~ definitions ~ ') using parquet '
        ~ "options (partitionOverwriteMode 'dynamic') partitioned by (until_month)") -%}
    {%- do run_query('create table ' ~ next ~ ' (' ~ definitions ~ ') using parquet') -%}
    {%- do run_query(
        'create table ' ~ ledger_counts(entity) ~ ' (load_id string, staged_count bigint, quarantined_count bigint, '
        ~ "superseded_count bigint, _day date) using parquet options (partitionOverwriteMode 'dynamic') partitioned by (_day)"
    ) -%}
{%- endmacro %}

{% macro built_up_to(relation) %}{{ return(adapter.dispatch('built_up_to')(relation)) }}{% endmacro %}
{% macro spark__built_up_to(relation) -%}
    {{ spark_properties(relation).get('build_id', 0) if execute and load_cached_relation(relation) else 0 }}
{%- endmacro %}

{% macro mark_built() %}{{ return(adapter.dispatch('mark_built')()) }}{% endmacro %}
{% macro spark__mark_built() -%}
    {%- set context = build_context() -%}
    {{ spark_note_sql(this, {'build_id': context['build_id'], 'fingerprint': context['fingerprints'].get(this.identifier, '')}) }}
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
