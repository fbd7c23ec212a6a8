{#
  What all base models share: taking new loads, marking superseded versions, and the entity's own ledger.

  A base table keeps every landed row. Of the whole (unbroken) rows with one primary key, the current one has the greatest version, load
  and row; the others are superseded. A broken row is superseded by any row of its key that landed later: a repaired one releases it
  from quarantine, and a broken update waits there beside the whole row that stays current. A row whose key is incomplete supersedes
  nothing.
#}
{% macro base_config(entity, keys, version=none, within_day=false) -%}
    {{ config(
        schema='base', materialized='incremental', incremental_strategy='append', on_schema_change='fail',
        post_hook=['{{ settle_versions() }}', '{{ write_ledger() }}', '{{ mark_built() }}'],
        meta={'entity': entity, 'keys': keys, 'version': version, 'within_day': within_day}
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
  The ids of the rules that a row breaks, in their order and with commas between; null where it breaks none. rules: (id, condition).
  The texts are made for broken rows alone: to make them for every row costs more than to judge it.
#}
{% macro broken_rules(rules) -%}
    case
        when
            {% for _, condition in rules -%}
            {{ 'or ' if not loop.first }}({{ condition }})
            {% endfor -%}
        then concat_ws(',',
            {% for rule, condition in rules -%}
            case when {{ condition }} then '{{ rule }}' end{{ ',' if not loop.last }}
            {% endfor -%}
        )
    end
{%- endmacro %}

{# The end of every base model: the rows of CTE `checked`, as this build adds them. #}
{% macro added(columns) -%}
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
    from checked
{%- endmacro %}

{#
  Runs after the rows were added, in the same transaction: among the rows of a key that this build added to, all but the current one
  are superseded. A row whose standing changes gets the build's number, so that what follows from it is computed again.
  Equal keys that hold the event time lie in one day, unless a rule is broken: then only the days at hand are searched.
#}
{% macro default__settle_versions() -%}
    {%- if not new_loads(config.get('meta')['entity']) -%}
        {%- do return('select 1') -%}
    {%- endif -%}
    {%- set keys = config.get('meta')['keys'] -%}
    {%- set version = config.get('meta')['version'] -%}
    {%- set scope -%}
    {# a new table has no other days #}{% if config.get('meta')['within_day'] and is_incremental() %}(_day in (select _day from {{ this }} where _build_id = {{ build_id() }}) or _broken_rules is not null){% else %}1 = 1{% endif %}
    {%- endset -%}
    update {{ this }} as target
    set _is_superseded = settled.is_superseded, _build_id = {{ build_id() }}
    from (
        select
            _load_id,
            _row,
            _is_superseded as was_superseded,
            case
                when _broken_rules is null then
                    row_number() over (
                        partition by {{ keys | join(', ') }}, _broken_rules is null
                        order by {% if version %}{{ version }} desc nulls last, {% endif %}_load_id desc, _row desc
                    ) > 1
                else row_number() over (partition by {{ keys | join(', ') }} order by _load_id desc, _row desc) > 1
            end as is_superseded
        from {{ this }}
        where {% for key in keys %}{{ key }} is not null and {% endfor %}{{ scope }}
            and {{ quick_hash(keys) }} in (
                select {{ quick_hash(keys) }} from {{ this }}
                where {{ scope }}
                group by {{ quick_hash(keys) }}
                having count(*) > 1{% if is_incremental() %} and max(_build_id) = {{ build_id() }}{% endif %}
            )
    ) as settled
    where target._load_id = settled._load_id
        and target._row = settled._row
        and settled.is_superseded <> settled.was_superseded
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
{% macro default__write_ledger() -%}
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
    {%- set touched %}{% if is_incremental() %}where _day in (select _day from {{ this }} where _build_id = {{ build_id() }}){% endif %}{% endset %}
    delete from {{ ledger_counts(entity) }} {{ touched }};
    insert into {{ ledger_counts(entity) }}
    select
        _load_id,
        _day,
        count(*) filter (where not _is_superseded and _broken_rules is null),
        count(*) filter (where not _is_superseded and _broken_rules is not null),
        count(*) filter (where _is_superseded)
    from {{ this }}
    {{ touched }}
    group by _load_id, _day;
    {%- endif %}
    select 1
{%- endmacro %}
