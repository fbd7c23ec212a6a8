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

{# Without an offset a time is Shanghai's. #}
{% macro as_timestamp(text) -%}
    case
        when {{ text }} like '%+08:00' or {{ text }} like '%Z' or substr({{ text }}, 11) like '%+%' or substr({{ text }}, 11) like '%-%'
            then {{ parse_offset_timestamp(text) }}
        else {{ from_shanghai('try_cast(' ~ text ~ ' as ' ~ ts_type() ~ ')') }}
    end
{%- endmacro %}

{% macro as_date(text) -%}
    try_cast({{ text }} as date)
{%- endmacro %}

{# Engines read more as a number than was meant (inf, 1_000, 1d): only these characters make one. #}
{% macro as_number(text) -%}
    case when translate({{ text }}, '0123456789.+-eE', '') = '' then try_cast({{ text }} as double) end
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
