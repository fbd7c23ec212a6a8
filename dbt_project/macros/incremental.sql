{#
  Facts that follow the new data: a fact recomputes the Shanghai days (or months) that were touched since it was last built, whole.

      {{ config(materialized='incremental', incremental_strategy='replace_days',
                day='occurred_date', touched_by=['base_grid_management__grid_event'], post_hook='{{ mark_built() }}') }}
      select ... from {{ ref('stg_...') }} where {{ is_touched('_day') }}

  Touched are the days of base rows that a newer build wrote or changed. A day whose rows all went away is emptied too.
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
    {%- if is_incremental() -%}
    {{ day }} in (select touched from ({{ touched_days() }}) as t)
    {%- else -%}
    1 = 1
    {%- endif -%}
{%- endmacro %}

{% macro get_incremental_replace_days_sql(arg_dict) -%}
    {%- set columns = get_quoted_csv(arg_dict['dest_columns'] | map(attribute='name')) -%}
    delete from {{ arg_dict['target_relation'] }}
    where {{ config.require('day') }} in (select touched from ({{ touched_days() }}) as t);
    insert into {{ arg_dict['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arg_dict['temp_relation'] }}
{%- endmacro %}
