{#
  A double rounded half away from zero, by way of a decimal: of a double itself, 0.285 gives 0.28 on DuckDB and 0.29 on Spark, and
  the order of a sum decides ties. Null beyond 22 digits before the point.
#}
{% macro rounded(value, digits) -%}
    cast(round(try_cast({{ value }} as decimal(28, 6)), {{ digits }}) as double)
{%- endmacro %}

{# A number as text with at most two decimals: 0.45, 60, 12.5. Not rtrim(text, characters), whose arguments Spark takes the other way. #}
{% macro number_text(value) -%}
    trim(trailing '.' from trim(trailing '0' from cast(cast({{ rounded(value, 2) }} as decimal(28, 2)) as {{ text_type() }})))
{%- endmacro %}
