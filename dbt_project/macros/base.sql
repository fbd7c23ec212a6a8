{#
  What all base models share: taking new loads, marking superseded versions, and the entity's own ledger.

  A base table keeps every landed row. Of the rows with one primary key, the current one is the whole (unbroken) row with the greatest
  version, load and row; the others are superseded, so a repaired row releases its broken predecessor from quarantine. A row whose key
  is incomplete supersedes nothing.
#}
{% macro base_config(entity) -%}
    {{ config(
        schema='base', materialized='incremental', incremental_strategy='replace_rows', on_schema_change='fail',
        post_hook=['{{ write_ledger() }}', '{{ mark_built() }}'], meta={'entity': entity}
    ) }}
{%- endmacro %}

{#
  Rows of the loads that this build takes, every column the source's text under our name. columns: name -> the source's names for it,
  the first that holds a value counts. A column that no load of this build has is null.
#}
{% macro landed(entity, columns) -%}
    {%- set ns = namespace(files=[], seen=[]) -%}
    {%- for load in new_loads(entity) if load['files'] -%}
        {%- set ns.files = ns.files + load['files'] -%}
        {%- set ns.seen = ns.seen + load['columns'] -%}
    {%- endfor -%}
    select
        {% for name, sources in dict(columns, _malformed=['_malformed']).items() -%}
        coalesce(
            {%- for source in sources if source in ns.seen %}part.{{ adapter.quote(source) }}, {% endfor -%}
            cast(null as {{ text_type() }})
        ) as {{ name }},
        {% endfor -%}
        {%- if ns.files %}
        part._load_id,
        part._row,
        taken.window_since,
        taken.window_until
    from {{ read_parts(ns.files) }} as part
    inner join {{ loads_table(entity) }} as taken on part._load_id = taken.load_id
    {%- if is_incremental() %}
    where part._load_id not in (select load_id from {{ ledger_loads(entity) }})
    {%- endif %}
        {%- else %}
        cast(null as {{ text_type() }}) as _load_id,
        cast(null as bigint) as _row,
        cast(null as {{ ts_type() }}) as window_since,
        cast(null as {{ ts_type() }}) as window_until
    where 1 = 0
        {%- endif %}
{%- endmacro %}

{#
  The rows of CTE `checked` with `_is_superseded` and `_build_id`; on an increment also the earlier rows that a new one displaces.
  keys: primary key; version: version column or none; within_day: whether equal keys always share `_day`.
#}
{% macro versioned(columns, keys, version=none, within_day=false) %}
{%- set whole_key -%}{% for key in keys %}{{ key }} is not null{{ ' and ' if not loop.last }}{% endfor %}{%- endset -%}
incoming as (

    select *, {{ quick_hash(keys) }} as _key_hash from checked

),

{% if is_incremental() -%}
earlier as (

    select
        {%- for column in columns %}
        {{ column }},
        {%- endfor %}
        _load_id, _row, _broken_rules, _day, {{ quick_hash(keys) }} as _key_hash, _is_superseded as _was_superseded
    from {{ this }}
    where {{ quick_hash(keys) }} in (select _key_hash from incoming)
        {%- if within_day %}
        and (_day in (select _day from incoming) or _broken_rules is not null)
        {%- endif %}

),
{%- endif %}

repeated as (

    select _key_hash from incoming where {{ whole_key }} group by _key_hash having count(*) > 1
    {%- if is_incremental() %}
    union
    select _key_hash from earlier
    {%- endif %}

),

ranked as (

    select
        *,
        {{ whole_key }} and row_number() over (
            partition by {{ keys | join(', ') }}
            order by
                case when _broken_rules is null then 0 else 1 end
                {%- if version %}, {{ version }} desc nulls last{% endif %}, _load_id desc, _row desc
        ) > 1 as _is_superseded
    from (
        select
            {%- for column in columns %}
            {{ column }},
            {%- endfor %}
            _load_id, _row, _broken_rules, _day, _key_hash, cast(null as boolean) as _was_superseded
        from incoming
        where _key_hash in (select _key_hash from repeated)
        {%- if is_incremental() %}
        union all
        select
            {%- for column in columns %}
            {{ column }},
            {%- endfor %}
            _load_id, _row, _broken_rules, _day, _key_hash, _was_superseded
        from earlier
        {%- endif %}
    ) as versions

)

select
    {%- for column in columns %}
    {{ column }},
    {%- endfor %}
    _load_id,
    _row,
    _day,
    _broken_rules,
    false as _is_superseded,
    cast({{ build_id() }} as bigint) as _build_id
from incoming
where _key_hash not in (select _key_hash from repeated)
union all
select
    {%- for column in columns %}
    {{ column }},
    {%- endfor %}
    _load_id,
    _row,
    _day,
    _broken_rules,
    _is_superseded,
    cast({{ build_id() }} as bigint) as _build_id
from ranked
where _was_superseded is null or _was_superseded <> _is_superseded
{% endmacro %}

{# Rows are replaced by load and row; a day's predicate keeps the search to the days at hand. #}
{% macro get_incremental_replace_rows_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where _day in (select _day from {{ arg_dict['temp_relation'] }})
        and (_load_id, _row) in (select (_load_id, _row) from {{ arg_dict['temp_relation'] }});
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{%- endmacro %}

{# Tables of the entity's ledger, beside its base table: the loads taken, and per load and day what became of the rows. #}
{% macro ledger_loads(entity) -%}
    {{ 'warehouse.' if target.type == 'duckdb' }}ledger.{{ entity }}__loads
{%- endmacro %}

{% macro ledger_counts(entity) -%}
    {{ 'warehouse.' if target.type == 'duckdb' }}ledger.{{ entity }}__counts
{%- endmacro %}

{#
  Runs in the base model's transaction: the loads of this build are taken, and the days it touched are counted anew. Nothing of the
  ledger is ever pruned; a rebuild from landing takes all loads again.
#}
{% macro write_ledger() -%}
    {%- set entity = config.get('meta')['entity'] -%}
    {%- set loads = new_loads(entity) -%}
    create table if not exists {{ ledger_loads(entity) }} (
        load_id varchar, window_since timestamp, window_until timestamp, landed_count bigint, bytes bigint, contract_version varchar,
        is_demo boolean, started_at timestamp, ended_at timestamp, added_columns varchar, missing_columns varchar
    );
    create table if not exists {{ ledger_counts(entity) }} (
        load_id varchar, _day date, staged_count bigint, quarantined_count bigint, superseded_count bigint
    );
    {%- if should_full_refresh() %}
    delete from {{ ledger_loads(entity) }};
    delete from {{ ledger_counts(entity) }};
    {%- endif %}
    {%- if loads %}
    delete from {{ ledger_loads(entity) }} where load_id in (select load_id from {{ loads_table(entity) }});
    insert into {{ ledger_loads(entity) }}
    select load_id, window_since, window_until, landed_count, bytes, contract_version, is_demo, started_at, ended_at, added_columns, missing_columns
    from {{ loads_table(entity) }};
    delete from {{ ledger_counts(entity) }} where _day in (select _day from {{ this }} where _build_id = {{ build_id() }});
    insert into {{ ledger_counts(entity) }}
    select
        _load_id,
        _day,
        count(*) filter (where not _is_superseded and _broken_rules is null),
        count(*) filter (where not _is_superseded and _broken_rules is not null),
        count(*) filter (where _is_superseded)
    from {{ this }}
    where _day in (select _day from {{ this }} where _build_id = {{ build_id() }})
    group by _load_id, _day;
    {%- endif %}
    select 1
{%- endmacro %}
