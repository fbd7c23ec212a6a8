{#
  A key made of a row's own values: the same values give the same key on every engine and in every build. Columns named in `times` are
  timestamps. Letters stand for the digits of the hash, so that no key reads as somebody's identity number.
#}
{% macro stable_id(columns, times=[]) -%}
    translate(
        md5(
            {%- for column in columns -%}
            {%- if column in times -%}
            cast(cast(floor({{ epoch_seconds(column) }}) as bigint) as {{ text_type() }})
            {%- else -%}
            {{ column }}
            {%- endif -%}
            {{ " || '|' || " if not loop.last }}
            {%- endfor -%}
        ),
        '0123456789', 'ghijklmnop'
    )
{%- endmacro %}
