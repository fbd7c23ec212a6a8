{#
  How tables come to be on Spark: Parquet, without transactions, UPDATE, DELETE or MERGE. Where a build is killed, anywhere, the next
  one brings every table to the same state as if it had not been.

  * A table is made empty first and filled by `insert overwrite` then, never by `create table as`: what is killed leaves no folder
    without a table, in the way of the next attempt.
  * Incremental tables are partitioned by their day (or month), and a build overwrites the touched partitions alone. What was made of
    the table itself goes by way of a scratch table in schema `internal`: a statement never overwrites what it reads.
  * What a table holds is written on it, as properties, which Spark's metastore changes at once or not at all:
    `ssc.state` (`open`: being filled, or `whole`), `ssc.next` (the same of a base table's scratch table), `ssc.build_id` and
    `ssc.fingerprint` (by mark_built), `ssc.project` (the project it was made with), `ssc.checksum` (of a seed's file, a view's text).
#}
{% macro spark_run(sql) -%}
    {%- call statement('main') -%}{{ sql }}{%- endcall -%}
{%- endmacro %}

{# dbt wants a result of every model, of one in which there was nothing to do too. #}
{% macro spark_nothing() -%}
    {%- call noop_statement('main', 'nothing new') -%}{%- endcall -%}
{%- endmacro %}

{# The columns of a query as [{'name', 'type'}], those it is partitioned by last, as Spark keeps them. #}
{% macro spark_columns(described, last=none) -%}
    {%- set ns = namespace(columns=[], behind=[], ended=false) -%}
    {%- for row in described.rows -%}
        {%- if not row[0] or row[0].startswith('#') -%}{%- set ns.ended = true -%}{%- endif -%}
        {%- if not ns.ended -%}
            {%- set column = {'name': row[0], 'type': row[1]} -%}
            {%- if row[0] == last -%}{%- do ns.behind.append(column) -%}{%- else -%}{%- do ns.columns.append(column) -%}{%- endif -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if last and not ns.behind -%}
        {%- do exceptions.raise_compiler_error('column ' ~ last ~ ', by which the table is partitioned, is missing in ' ~ this) -%}
    {%- endif -%}
    {%- do return(ns.columns + ns.behind) -%}
{%- endmacro %}

{# Names and types agree with the model's contract, which is written in DuckDB's types. #}
{% macro spark_check_contract(columns) -%}
    {%- set types = {'varchar': 'string', 'text': 'string', 'timestamp': 'timestamp_ntz', 'integer': 'int'} -%}
    {%- if config.get('contract').enforced -%}
        {%- set ns = namespace(agreed=[], built=[]) -%}
        {%- for name, column in model.columns.items() -%}
            {%- set type = column.data_type | lower -%}
            {%- do ns.agreed.append(name ~ ' ' ~ types.get(type, type)) -%}
        {%- endfor -%}
        {%- for column in columns -%}{%- do ns.built.append(column.name ~ ' ' ~ column.type) -%}{%- endfor -%}
        {%- if ns.agreed | sort != ns.built | sort -%}
            {%- do exceptions.raise_compiler_error(
                'the contract of ' ~ this ~ ' is not met: agreed ' ~ ns.agreed | reject('in', ns.built) | list
                ~ ', built ' ~ ns.built | reject('in', ns.agreed) | list
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{% macro spark_names(columns) -%}
    {%- for column in columns %}`{{ column.name }}`{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{% macro spark_create(relation, columns, partition=none, properties=none) -%}
    {%- do run_query(
        'create table if not exists ' ~ relation ~ ' (' ~ spark_definitions(columns) ~ ') using parquet'
        ~ (" options (partitionOverwriteMode 'dynamic') partitioned by (" ~ partition ~ ')' if partition else '')
        ~ (' tblproperties (' ~ spark_noted(properties) ~ ')' if properties else '')
    ) -%}
{%- endmacro %}
{% macro spark_definitions(columns) -%}
    {%- for column in columns %}`{{ column.name }}` {{ column.type }}{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{# What was written on a table: {'state': ..., 'build_id': ..., ...}; nothing where there is no such table. #}
{% macro spark_properties(relation) -%}
    {%- set ns = namespace(found={}) -%}
    {%- for row in run_query('show tblproperties ' ~ relation).rows if row[0].startswith('ssc.') -%}
        {%- do ns.found.update({row[0][4:]: row[1] | string}) -%}
    {%- endfor -%}
    {%- do return(ns.found) -%}
{%- endmacro %}

{% macro spark_note(relation, properties) -%}
    {%- do run_query(spark_note_sql(relation, properties)) -%}
{%- endmacro %}
{% macro spark_note_sql(relation, properties) -%}
    alter table {{ relation }} set tblproperties ({{ spark_noted(properties) }})
{%- endmacro %}
{% macro spark_noted(properties) -%}
    {%- for name, value in properties.items() %}'ssc.{{ name }}' = '{{ value }}'{{ ', ' if not loop.last }}{% endfor -%}
{%- endmacro %}

{# A scratch table of a model: `new` rows as they came, or the `next` content of partitions. #}
{% macro spark_scratch(relation, use) -%}
    internal.{{ relation.schema }}__{{ relation.identifier }}__{{ use }}
{%- endmacro %}

{#
  The table of a model, ready to be filled: {'columns', 'is_new', and what was written on it}. It is kept where its columns are what the
  query answers, which is not asked while the project is the one that the table was made with; else it is made.
#}
{% macro spark_ready(sql, partition=none, replace=true) -%}
    {%- set found = load_cached_relation(this) -%}
    {%- set kept = found and found.type == 'table' and not (partition and should_full_refresh()) -%}
    {%- set project = build_context()['fingerprints'].get('_project', '') -%}
    {%- set properties = spark_properties(this) if kept else {} -%}
    {%- set there = spark_columns(run_query('describe ' ~ this), partition) if kept else none -%}
    {%- if kept and properties.get('project') == project -%}
        {%- do properties.update({'columns': there, 'is_new': false}) -%}
        {%- do return(properties) -%}
    {%- endif -%}
    {%- set columns = spark_columns(run_query('describe query ' ~ sql), partition) -%}
    {%- do spark_check_contract(columns) -%}
    {%- if kept and there == columns -%}
        {%- do spark_note(this, {'project': project}) -%}
        {%- do properties.update({'columns': columns, 'is_new': false}) -%}
        {%- do return(properties) -%}
    {%- endif -%}
    {%- if kept and not replace -%}
        {%- do exceptions.raise_compiler_error('the columns of ' ~ this ~ ' changed: build it anew with --full-refresh') -%}
    {%- endif -%}
    {%- if found -%}{%- do adapter.drop_relation(found) -%}{%- endif -%}
    {%- if partition -%}
        {%- for use in ['new', 'next'] -%}{%- do run_query('drop table if exists ' ~ spark_scratch(this, use)) -%}{%- endfor -%}
    {%- endif -%}
    {%- do spark_create(this.incorporate(type='table'), columns, partition, {'state': 'open', 'project': project}) -%}
    {%- do return({'columns': columns, 'is_new': true}) -%}
{%- endmacro %}

{% materialization table, adapter='spark' -%}
    {%- set target = this.incorporate(type='table') -%}
    {{ run_hooks(pre_hooks) }}
    {%- set ready = spark_ready(sql) -%}
    {%- set names = spark_names(ready['columns']) -%}
    {%- if not ready['is_new'] and this | string in sql -%}
        {%- set scratch = spark_scratch(this, 'next') -%}
        {%- do run_query('drop table if exists ' ~ scratch) -%}
        {%- do spark_create(scratch, ready['columns']) -%}
        {%- do run_query('insert overwrite ' ~ scratch ~ ' select ' ~ names ~ ' from (' ~ sql ~ '\n) as built') -%}
        {%- do spark_run('insert overwrite ' ~ target ~ ' select ' ~ names ~ ' from ' ~ scratch) -%}
    {%- else -%}
        {%- do spark_run('insert overwrite ' ~ target ~ ' select ' ~ names ~ ' from (' ~ sql ~ '\n) as built') -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {%- do return({'relations': [target]}) -%}
{%- endmaterialization %}

{# A view is left where nothing of the project changed and its text is the same. #}
{% materialization view, adapter='spark' -%}
    {%- set target = this.incorporate(type='view') -%}
    {%- set checksum = local_md5(sql ~ build_context()['fingerprints'].get('_project', '')) -%}
    {%- set found = load_cached_relation(this) -%}
    {{ run_hooks(pre_hooks) }}
    {%- if found and found.type == 'view' and spark_properties(this).get('checksum') == checksum -%}
        {%- do spark_nothing() -%}
    {%- else -%}
        {%- if found and found.type != 'view' -%}{%- do adapter.drop_relation(found) -%}{%- endif -%}
        {%- do spark_run('create or replace view ' ~ this ~ " tblproperties ('ssc.checksum' = '" ~ checksum ~ "') as\n" ~ sql) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {%- do return({'relations': [target]}) -%}
{%- endmaterialization %}

{% materialization incremental, adapter='spark' -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set strategy = config.require('incremental_strategy') -%}
    {%- set day = '_day' if strategy == 'append' else config.require('day') -%}
    {{ run_hooks(pre_hooks) }}
    {%- if strategy == 'append' and (should_full_refresh() or not load_cached_relation(this)) -%}
        {%- do spark_new_ledger(config.get('meta')['entity']) -%}
    {%- endif -%}
    {%- set ready = spark_ready(sql, day, replace=false) -%}
    {%- if ready.get('state') == 'whole' and strategy == 'append' -%}
        {%- do spark_add_rows(target, ready, sql) -%}
    {%- elif ready.get('state') == 'whole' -%}
        {%- do spark_replace_days(target, ready['columns'], day, sql) -%}
    {%- else -%}
        {%- if not ready['is_new'] -%}{%- do run_query('truncate table ' ~ this) -%}{%- endif -%}
        {%- set rows = spark_settled(ready['columns'], '(' ~ sql ~ '\n)') if strategy == 'append' else 'select * from (' ~ sql ~ '\n) as built' -%}
        {%- do spark_overwrite(target, ready['columns'], day, '(' ~ rows ~ ')') -%}
        {%- do spark_note(target, {'state': 'whole'}) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {%- do return({'relations': [target]}) -%}
{%- endmaterialization %}

{# The partitions that `rows` holds are overwritten, the others stay; one file for each where it is small. #}
{% macro spark_overwrite(target, columns, day, rows) -%}
    {%- do spark_run(
        'insert overwrite table ' ~ target ~ ' partition (' ~ day ~ ') select /*+ rebalance(' ~ day ~ ') */ ' ~ spark_names(columns)
        ~ ' from ' ~ rows ~ ' as filled'
    ) -%}
{%- endmacro %}

{#
  A fact's touched days, whole. The model does not read its own table, so a build that is killed here is simply repeated: the table's
  build number is written last. A touched day of which nothing is left loses its partition.
#}
{% macro spark_replace_days(target, columns, day, sql) -%}
    {%- set touched = spark_touched() -%}
    {%- if touched -%}
        {%- set scratch = spark_scratch(this, 'next') -%}
        {%- do spark_create(scratch, columns) -%}
        {%- do run_query('insert overwrite ' ~ scratch ~ ' select ' ~ spark_names(columns) ~ ' from (' ~ sql ~ '\n) as built') -%}
        {%- set filled = spark_literals('select ' ~ day ~ ' as day from ' ~ scratch, config.get('grain', 'day')) -%}
        {%- set ns = namespace(emptied=[]) -%}
        {%- for literal in touched if literal not in filled -%}
            {%- do ns.emptied.append('partition (' ~ day ~ ' = ' ~ literal ~ ')') -%}
        {%- endfor -%}
        {%- if ns.emptied -%}
            {%- do run_query('alter table ' ~ target ~ ' drop if exists ' ~ ns.emptied | join(', ')) -%}
        {%- endif -%}
        {%- do spark_overwrite(target, columns, day, scratch) -%}
    {%- else -%}
        {%- do spark_nothing() -%}
    {%- endif -%}
{%- endmacro %}

{# The distinct values of column `day` of a query, each as a literal, in order. #}
{% macro spark_literals(sql, grain='day') -%}
    {%- set quoted = "concat('" ~ ("date" if grain == 'day') ~ "''', day, '''')" -%}
    {%- set found = run_query('select distinct ' ~ quoted ~ ' as literal from (' ~ sql ~ ') as days where day is not null order by 1') -%}
    {%- do return(found.columns[0].values() | list) -%}
{%- endmacro %}

{% macro spark_touched() -%}
    {%- do return(spark_literals('select touched as day from (' ~ touched_days() ~ ') as t', config.get('grain', 'day'))) -%}
{%- endmacro %}

{# Literals, so that Spark reads the partitions of these days alone. Kept on `model` for as long as the model is compiled. #}
{% macro spark__is_touched(day) -%}
    {%- if not (execute and is_incremental()) -%}
    1 = 1
    {%- else -%}
        {%- if 'ssc_touched' not in model -%}{%- do model.update({'ssc_touched': spark_touched()}) -%}{%- endif -%}
        {%- if model['ssc_touched'] -%}
    {{ day }} in ({{ model['ssc_touched'] | join(', ') }})
        {%- else -%}
    1 = 0
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#
  New rows of a base table. The days they lie in, and those with older rows of their keys, are put together in a scratch table with
  the versions settled, and then overwrite the table's own. From where `ssc.next` says that the scratch table is `whole` until the model
  is marked as built, a kill leaves it to the next build to overwrite once more, before anything else; killed before, nothing has
  happened. Rows of a load that is being taken a second time are left out of the old ones: it counts once.
#}
{% macro spark_add_rows(target, ready, sql) -%}
    {%- set meta, columns = config.get('meta'), ready['columns'] -%}
    {%- set next, new = spark_scratch(this, 'next'), spark_scratch(this, 'new') -%}
    {%- set names = spark_names(columns) -%}
    {%- if ready.get('next') == 'whole' -%}
        {%- do spark_overwrite(target, columns, '_day', next) -%}
        {%- do spark_note(target, {'next': 'open'}) -%}
    {%- endif -%}
    {%- set loads = new_loads(meta['entity']) | selectattr('files') | map(attribute='load_id') | list -%}
    {%- set ns = namespace(touched=[]) -%}
    {%- if loads -%}
        {%- do spark_create(new, columns) -%}
        {%- do spark_create(next, columns) -%}
        {%- do run_query('insert overwrite ' ~ new ~ ' select ' ~ names ~ ' from (' ~ sql ~ '\n) as built') -%}
        {%- set old = target ~ " where _load_id not in ('" ~ loads | join("', '") ~ "')" -%}
        {%- set keys = meta['keys'] | join(', ') -%}
        {%- set ns.touched = spark_literals(
            'select _day as day from ' ~ new ~ ' union all select _day from ' ~ old
            ~ (' and _broken_rules is not null' if meta['within_day']) ~ ' and (' ~ keys ~ ') in (select ' ~ keys ~ ' from ' ~ new ~ ')'
        ) -%}
        {%- if ns.touched -%}
            {%- set rows = '(select ' ~ names ~ ', false as _is_new from ' ~ old ~ ' and _day in (' ~ ns.touched | join(', ') ~ ')'
                ~ ' union all select ' ~ names ~ ', true from ' ~ new ~ ')' -%}
            {%- do run_query('insert overwrite ' ~ next ~ ' ' ~ spark_settled(columns, rows, is_new='_is_new')) -%}
            {%- do spark_note(target, {'next': 'whole'}) -%}
            {%- do spark_overwrite(target, columns, '_day', next) -%}
        {%- endif -%}
    {%- endif -%}
    {%- if not ns.touched -%}{%- do spark_nothing() -%}{%- endif -%}
{%- endmacro %}

{#
  The rows with the versions of their keys settled, as settle_versions says. Among older rows only the keys of new ones are: of others
  not all versions may be at hand.
#}
{% macro spark_settled(columns, rows, is_new=none) -%}
    {%- set meta = config.get('meta') -%}
    {%- set keys = meta['keys'] | join(', ') -%}
    {%- set version = meta['version'] ~ ' desc nulls last, ' if meta['version'] else '' -%}
    select
        {%- for column in columns %}
        {% if column.name == '_build_id' -%}
        case when is_superseded <> _is_superseded then {{ build_id() }} else _build_id end as _build_id
        {%- elif column.name == '_is_superseded' -%}
        is_superseded as _is_superseded
        {%- else -%}
        `{{ column.name }}`
        {%- endif -%}
        {{ ',' if not loop.last }}
        {%- endfor %}
    from (
        select
            *,
            case
                when {% for key in meta['keys'] %}{{ key }} is null{{ ' or ' if not loop.last }}{% endfor %} then _is_superseded
                {%- if is_new %}
                when not max({{ is_new }}) over (partition by {{ keys }}) then _is_superseded
                {%- endif %}
                when _broken_rules is null then
                    row_number() over (
                        partition by {{ keys }}, _broken_rules is null order by {{ version }}_load_id desc, _row desc
                    ) > 1
                else row_number() over (partition by {{ keys }} order by _load_id desc, _row desc) > 1
            end as is_superseded
        from {{ rows }} as landed_rows
    ) as settled
{%- endmacro %}

{# Seeds: one statement with all rows as text, cast to the types that are agreed or inferred; a file that did not change is left. #}
{% materialization seed, adapter='spark' -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set types = {'varchar': 'string', 'text': 'string', 'timestamp': 'timestamp_ntz', 'integer': 'int'} -%}
    {%- set agate_table = load_agate_table() -%}
    {%- do store_result('agate_table', response='OK', agate_table=agate_table) -%}
    {{ run_hooks(pre_hooks) }}
    {%- set ns = namespace(columns=[], casts=[], names=[], rows=[]) -%}
    {%- set agreed = config.get('column_types', {}) -%}
    {%- for name in agate_table.column_names -%}
        {%- set type = agreed.get(name, adapter.convert_type(agate_table, loop.index0)) | lower -%}
        {%- do ns.columns.append({'name': name, 'type': types.get(type, type)}) -%}
        {%- do ns.names.append('c' ~ loop.index) -%}
        {%- do ns.casts.append('cast(c' ~ loop.index ~ ' as ' ~ types.get(type, type) ~ ')') -%}
    {%- endfor -%}
    {%- set checksum = local_md5(model.checksum.checksum ~ ns.columns) -%}
    {%- set found = load_cached_relation(this) -%}
    {%- if found and spark_properties(this).get('checksum') == checksum -%}
        {%- do spark_nothing() -%}
    {%- else -%}
        {%- if found -%}{%- do adapter.drop_relation(found) -%}{%- endif -%}
        {%- do spark_create(target, ns.columns) -%}
        {%- for row in agate_table.rows -%}
            {%- set cells = [] -%}
            {%- for cell in row -%}
                {%- do cells.append('null' if cell is none else "'" ~ (cell | string | replace('\\', '\\\\') | replace("'", "\\'")) ~ "'") -%}
            {%- endfor -%}
            {%- do ns.rows.append('(' ~ cells | join(', ') ~ ')') -%}
        {%- endfor -%}
        {%- do spark_run(
            'insert overwrite ' ~ target ~ ' select ' ~ ns.casts | join(', ')
            ~ (' from values ' ~ ns.rows | join(', ') ~ ' as cell (' ~ ns.names | join(', ') ~ ')' if ns.rows else ' from (select 1) as cell where 1 = 0')
        ) -%}
        {%- do spark_note(target, {'checksum': checksum}) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {%- do return({'relations': [target]}) -%}
{%- endmaterialization %}
