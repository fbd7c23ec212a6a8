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
  Without an offset a time is Shanghai's. Its own offset, the usual one, is looked for first. A year has four digits: the year 26 is a
  slip, and words that an engine knows by itself (epoch, infinity) are no times.
#}
{% macro as_timestamp(text) -%}
    case
        when substr({{ text }}, 5, 1) not in ('-', '/') then null
        when
            {{ text }} like '%+08:00' or {{ text }} like '%+08' or {{ text }} like '%Z' or {{ text }} like '%UTC'
            or substr({{ text }}, 11) like '%+%' or substr({{ text }}, 11) like '%-%'
            then {{ parse_offset_timestamp(text) }}
        else {{ from_shanghai(try_timestamp(text)) }}
    end
{%- endmacro %}

{#
  Dates as systems send them and as people type them: year, month, day in this order, by -, /, . or 年月日, or in eight digits; the day in
  Shanghai of an ISO timestamp; the serial of a workbook's cell (five digits: 1927 to 2173). What could be two dates is none.
  The plain ISO form, the usual one, is known by its coming back as the same text: both engines read more than that.
#}
{% macro as_date(text) -%}
    case
        when {{ text }} like '____-__-__' and cast(try_cast({{ text }} as date) as {{ text_type() }}) = {{ text }}
            then try_cast({{ text }} as date)
        when {{ re_like(text, '^[0-9]{4}(-[0-9]{1,2}-[0-9]{1,2}|/[0-9]{1,2}/[0-9]{1,2}|[.][0-9]{1,2}[.][0-9]{1,2}|年[0-9]{1,2}月[0-9]{1,2}日)$') }}
            then try_cast(replace(translate({{ text }}, '/.年月', '----'), '日', '') as date)
        when {{ re_like(text, '^[0-9]{8}$') }}
            then try_cast(concat(substr({{ text }}, 1, 4), '-', substr({{ text }}, 5, 2), '-', substr({{ text }}, 7, 2)) as date)
        when {{ re_like(text, '^[1-9][0-9]{4}$') }}
            then {{ add_days("cast('1899-12-30' as date)", 'try_cast(' ~ text ~ ' as int)') }}
        when {{ re_like(text, '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}') }}
            then {{ shanghai_day(as_timestamp(text)) }}
    end
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
