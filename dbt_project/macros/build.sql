{#
  What this build was told: data/work/build.json and data/work/loads/<system>__<entity>.json, written by orchestration/build.py
  before dbt starts. They are read when a model runs, never when the project is parsed, so that a new build needs no new parse.
#}
{% macro build_context() -%}
    {%- if execute -%}
        {%- do return(fromjson(read_build())) -%}
    {%- endif -%}
    {%- do return({'build_id': 0, 'as_of': '1970-01-01 00:00:00', 'is_demo': false, 'unchanged': [], 'fingerprints': {}}) -%}
{%- endmacro %}

{# The loads of an entity that this build takes: load_id, window_since, window_until, files, columns, ... #}
{% macro new_loads(entity) -%}
    {%- if execute -%}
        {%- do return(fromjson(read_file(work_folder() ~ '/loads/' ~ entity ~ '.json'))) -%}
    {%- endif -%}
    {%- do return([]) -%}
{%- endmacro %}

{# The time the data has reached, UTC: the greatest end of a pulled window. No model asks a clock. #}
{% macro as_of() -%}
    cast('{{ build_context()["as_of"] }}' as {{ ts_type() }})
{%- endmacro %}

{% macro build_id() -%}
    {{ build_context()['build_id'] }}
{%- endmacro %}

{% macro is_demo() -%}
    {{ 'true' if build_context()['is_demo'] else 'false' }}
{%- endmacro %}

{#
  Which build each incremental model was last brought up to, in the model's own database file, written in the model's own
  transaction: a build that was killed between two models is caught up by the next one.
#}
{% macro build_log(relation) -%}
    {{ relation.database }}.internal.model_build
{%- endmacro %}

{% macro default__built_up_to(relation) -%}
    (select coalesce(max(build_id), 0) from {{ build_log(relation) }} where model = '{{ relation.identifier }}')
{%- endmacro %}

{% macro default__mark_built() -%}
    {%- set log = build_log(this) -%}
    delete from {{ log }} where model = '{{ this.identifier }}';
    insert into {{ log }} (model, build_id, fingerprint)
    values ('{{ this.identifier }}', {{ build_id() }}, '{{ build_context()["fingerprints"].get(this.identifier, "") }}')
{%- endmacro %}

{% macro default__prepare_build_log() -%}
    {%- if execute -%}
        {%- for database in ['warehouse', 'marts', 'open_data'] -%}
            create schema if not exists {{ database }}.internal;
            create table if not exists {{ database }}.internal.model_build (model varchar, build_id bigint, fingerprint varchar);
        {%- endfor -%}
        create schema if not exists warehouse.ledger;
    {%- endif -%}
{%- endmacro %}

{# After a whole build in which nothing failed: the line that says so. What cannot have changed may be left out of it. #}
{% macro mark_whole(results) -%}
    {%- set chosen = invocation_args_dict.get('select') or [] -%}
    {%- set left_out = (invocation_args_dict.get('exclude') or []) | join(' ') -%}
    {%- set failed = results | selectattr('status', 'in', ['error', 'fail', 'skipped', 'runtime error', 'partial success']) | list -%}
    {%- if execute and flags.WHICH == 'build' and not failed and chosen | list in ([], ['fqn:*']) and left_out in ('', build_context()['unchanged'] | join(' ')) -%}
        {{ note_whole() }}
    {%- endif -%}
{%- endmacro %}

{% macro model_in(database) -%}
    {%- do return(api.Relation.create(database=database, schema='internal', identifier='model_build')) -%}
{%- endmacro %}
