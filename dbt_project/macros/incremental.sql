{#
  Facts that follow the new data: a fact recomputes the Shanghai days (or months) that were touched since it was last built, whole.

      {{ config(materialized='incremental', incremental_strategy='replace_days',
                day='occurred_date', touched_by=['base_grid_management__grid_event'], post_hook='{{ mark_built() }}') }}
      select ... from {{ ref('stg_...') }} where {{ is_touched('_day') }}

  Touched are the days of base rows that a newer build wrote or changed. A day whose rows all went away is emptied too. They are
  asked for first and then named one by one, so that an engine reads those days and nothing else, however much history lies behind.
  `grain: month` counts in months: `day` then names a column 'YYYY-MM', and is_touched is given such an expression.
#}
{% macro touched_days(models=none, grain=none) -%}
    {%- set grain = grain or config.get('grain', 'day') -%}
    {%- set built = built_up_to(this) -%}
    {%- for model in models or config.get('touched_by', []) %}
    select {{ month_of_date('_day') if grain == 'month' else '_day' }} as touched from {{ touched_in(model) }}
    where _build_id > {{ built }}
    {%- if not loop.last %} union {% endif %}
    {%- endfor %}
{%- endmacro %}

{% macro is_touched(day) %}{{ return(adapter.dispatch('is_touched')(day)) }}{% endmacro %}
{% macro default__is_touched(day) -%}
    {{ is_among_touched(day) if is_incremental() else '1 = 1' }}
{%- endmacro %}

{% macro is_among_touched(day) -%}
    {%- set days = run_query('select distinct cast(touched as ' ~ text_type() ~ ') from (' ~ touched_days() ~ ') as t order by 1').columns[0].values() -%}
    {%- set kind = '' if config.get('grain', 'day') == 'month' else 'date ' -%}
    {%- if days -%}
    {{ day }} in ({% for touched in days %}{{ kind }}'{{ touched }}'{{ ', ' if not loop.last }}{% endfor %})
    {%- else -%}
    1 = 0
    {%- endif -%}
{%- endmacro %}

{% macro get_incremental_replace_days_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ is_among_touched(config.require('day')) }};
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{%- endmacro %}

{#
  For a model that is made anew in each build and remembers in which build a row was first seen: its table as the build before left it;
  none on a rebuild, and where its columns were others.
#}
{% macro as_left_before(columns) -%}
    {%- set earlier = none if should_full_refresh() else load_relation(this) -%}
    {%- if execute and earlier -%}
        {%- set there = adapter.get_columns_in_relation(earlier) | map(attribute='name') | list -%}
        {%- if not (columns + ['_build_id']) | reject('in', there) | list -%}
            {%- do return(earlier) -%}
        {%- endif -%}
    {%- endif -%}
    {%- do return(none) -%}
{%- endmacro %}
