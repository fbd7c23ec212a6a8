{# `_at` columns are UTC; days and months are those of Asia/Shanghai, which has kept UTC+8 without summer time since 1991. #}
{% macro shanghai_time(ts) -%}
    ({{ ts }} + interval 8 hour)
{%- endmacro %}

{% macro shanghai_day(ts) -%}
    cast({{ shanghai_time(ts) }} as date)
{%- endmacro %}

{% macro month_of_date(day) -%}
    substr(cast({{ day }} as {{ text_type() }}), 1, 7)
{%- endmacro %}

{% macro shanghai_month(ts) -%}
    {{ month_of_date(shanghai_day(ts)) }}
{%- endmacro %}

{# UTC of a timestamp that was written as Shanghai local time #}
{% macro from_shanghai(ts) -%}
    ({{ ts }} - interval 8 hour)
{%- endmacro %}

{# Whole days from one date to another, negative where the other is earlier #}
{% macro days_between(earlier, later) -%}
    cast(round({{ minutes_between('cast(' ~ earlier ~ ' as ' ~ ts_type() ~ ')', 'cast(' ~ later ~ ' as ' ~ ts_type() ~ ')') }} / 1440) as bigint)
{%- endmacro %}

{# A moment as people in Shanghai write it, to the minute #}
{% macro shanghai_text(ts) -%}
    substr(cast({{ shanghai_time(ts) }} as {{ text_type() }}), 1, 16)
{%- endmacro %}
