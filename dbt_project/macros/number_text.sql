{# A number as text with at most two decimals, the same on every engine: 0.45, 60, 12.5. #}
{% macro number_text(value) -%}
    rtrim(rtrim(cast(cast(round({{ value }}, 2) as decimal(18, 2)) as {{ text_type() }}), '0'), '.')
{%- endmacro %}
