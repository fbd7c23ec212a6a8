{# A number as text with at most two decimals: 0.45, 60, 12.5. Not rtrim(text, characters), whose arguments Spark takes the other way. #}
{% macro number_text(value) -%}
    trim(trailing '.' from trim(trailing '0' from cast(cast(round({{ value }}, 2) as decimal(18, 2)) as {{ text_type() }})))
{%- endmacro %}
