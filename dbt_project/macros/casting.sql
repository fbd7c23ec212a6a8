{#
  From the source's text to a typed value; null where the text is none of that type. Whether null is allowed is a row rule's
  business. Text that is empty or blank counts as missing everywhere.
#}
{% macro sent(column, payload=none) -%}
    {%- if payload == 'ngsi-ld' -%}
    case
        when {{ column }} like '{{ "{" }}%' then coalesce({{ json_text(column, '$.value') }}, {{ json_text(column, '$.object') }})
        else nullif(trim({{ column }}), '')
    end
    {%- else -%}
    nullif(trim({{ column }}), '')
    {%- endif -%}
{%- endmacro %}

{#
  Without an offset a time is Shanghai's. Shanghai's own offset, the usual one, is taken off here: that is several times faster. A year
  has four digits: the year 26 is a slip, and words that an engine knows by itself (epoch, infinity) are no times.
#}
{% macro as_timestamp(text) -%}
    case
        when substr({{ text }}, 5, 1) not in ('-', '/') then null
        when {{ text }} like '%+08:00' then {{ from_shanghai(try_timestamp('substr(' ~ text ~ ', 1, length(' ~ text ~ ') - 6)')) }}
        when {{ text }} like '%Z' or {{ text }} like '%UTC' or substr({{ text }}, 11) like '%+%' or substr({{ text }}, 11) like '%-%'
            then {{ parse_offset_timestamp(text) }}
        else {{ from_shanghai(try_timestamp(text)) }}
    end
{%- endmacro %}

{% macro as_date(text) -%}
    case when substr({{ text }}, 5, 1) in ('-', '/') then {{ try_date(text) }} end
{%- endmacro %}

{% macro as_number(text) -%}
    case when {{ re_like(text, '^[-+]?[0-9]*[.]?[0-9]+([eE][-+]?[0-9]+)?$') }} then try_cast({{ text }} as double) end
{%- endmacro %}

{% macro as_integer(text) -%}
    case when {{ re_like(text, '^[-+]?[0-9]+$') }} then try_cast({{ text }} as bigint) end
{%- endmacro %}

{% macro as_boolean(text) -%}
    case
        when lower({{ text }}) in ('true', '1', 'yes', 'y', '是') then true
        when lower({{ text }}) in ('false', '0', 'no', 'n', '否') then false
    end
{%- endmacro %}
