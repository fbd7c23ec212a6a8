{# A key made of a row's own values: the same values give the same key on every engine and in every build. Columns named in `times` are timestamps. #}
{% macro stable_id(columns, times=[]) -%}
    md5(
        {%- for column in columns -%}
        {%- if column in times -%}
        cast(cast(floor({{ epoch_seconds(column) }}) as bigint) as {{ text_type() }})
        {%- else -%}
        {{ column }}
        {%- endif -%}
        {{ " || '|' || " if not loop.last }}
        {%- endfor -%}
    )
{%- endmacro %}
