{# Where DuckDB and Spark differ in types and in reading text. One dispatch each: default is DuckDB, spark__ is Spark. #}
{% macro ts_type() %}{{ return(adapter.dispatch('ts_type')()) }}{% endmacro %}
{% macro default__ts_type() %}{{ return('timestamp') }}{% endmacro %}
{% macro spark__ts_type() %}{{ return('timestamp_ntz') }}{% endmacro %}

{% macro text_type() %}{{ return(adapter.dispatch('text_type')()) }}{% endmacro %}
{% macro default__text_type() %}{{ return('varchar') }}{% endmacro %}
{% macro spark__text_type() %}{{ return('string') }}{% endmacro %}

{#
  A text that begins with a year of four digits and - or / as a timestamp without a zone; null where it is none. What counts is what
  DuckDB takes: slashes, one-digit months, 24:00 as the end of a day, no hours without minutes.
#}
{% macro try_timestamp(text) %}{{ return(adapter.dispatch('try_timestamp')(text)) }}{% endmacro %}
{% macro default__try_timestamp(text) %}try_cast({{ text }} as timestamp){% endmacro %}
{% macro spark__try_timestamp(text) -%}
    case
        when {{ text }} rlike '{{ spark_date() }}(T| +)24:00(:00([.]0*)?)? *$'
            then cast({{ spark_date_of(text) }} as timestamp_ntz) + interval 1 day
        when {{ text }} rlike '{{ spark_date() }}((T| +)[0-9]{1,2}:[0-9]{1,2}(:[0-9]{1,2}([.][0-9]*)?)? *)?$'
            then try_cast(regexp_replace(trim(replace({{ text }}, '/', '-')), ' +', ' ') as timestamp_ntz)
    end
{%- endmacro %}

{% macro spark_date() %}^([0-9]{4}-[0-9]{1,2}-|[0-9]{4}/[0-9]{1,2}/)[0-9]{1,2}{% endmacro %}
{% macro spark_date_of(text) %}try_cast(replace(regexp_extract({{ text }}, '{{ spark_date() }}', 0), '/', '-') as date){% endmacro %}

{# A text with an offset as naive UTC timestamp; null where it is none. On DuckDB by way of its microseconds: timezone() is far slower. #}
{% macro parse_offset_timestamp(text) %}{{ return(adapter.dispatch('parse_offset_timestamp')(text)) }}{% endmacro %}
{% macro default__parse_offset_timestamp(text) %}make_timestamp(epoch_us(try_cast({{ text }} as timestamptz))){% endmacro %}
{% macro spark__parse_offset_timestamp(text) -%}
    case
        when {{ text }} rlike ' [+-]' then null
        when {{ text }} rlike '{{ spark_date() }}(T| +)24:00(:00([.]0*)?)?[^0-9:.]'
            then cast(try_to_timestamp(regexp_replace(replace({{ text }}, '/', '-'), '24:00', '00:00')) as timestamp_ntz) + interval 1 day
        else cast(try_to_timestamp(replace({{ text }}, '/', '-')) as timestamp_ntz)
    end
{%- endmacro %}

{# A date some days after another. #}
{% macro add_days(day, days) %}{{ return(adapter.dispatch('add_days')(day, days)) }}{% endmacro %}
{% macro default__add_days(day, days) %}({{ day }} + {{ days }}){% endmacro %}
{% macro spark__add_days(day, days) %}date_add({{ day }}, {{ days }}){% endmacro %}

{# Whether a text matches a regular expression somewhere (anchor it to match the whole). #}
{% macro re_like(text, pattern) %}{{ return(adapter.dispatch('re_like')(text, pattern)) }}{% endmacro %}
{% macro default__re_like(text, pattern) %}regexp_matches({{ text }}, '{{ pattern }}'){% endmacro %}
{% macro spark__re_like(text, pattern) %}({{ text }} rlike '{{ pattern | replace("\\", "\\\\") }}'){% endmacro %}

{% macro json_text(document, path) %}{{ return(adapter.dispatch('json_text')(document, path)) }}{% endmacro %}
{% macro default__json_text(document, path) %}json_extract_string({{ document }}, '{{ path }}'){% endmacro %}
{% macro spark__json_text(document, path) %}get_json_object({{ document }}, '{{ path }}'){% endmacro %}

{# Seconds since 1970 of a naive UTC timestamp, as a double. #}
{% macro epoch_seconds(ts) %}{{ return(adapter.dispatch('epoch_seconds')(ts)) }}{% endmacro %}
{% macro default__epoch_seconds(ts) %}(epoch_us({{ ts }}) / 1000000.0e0){% endmacro %}
{% macro spark__epoch_seconds(ts) %}(unix_micros(cast({{ ts }} as timestamp_ltz)) / 1000000.0e0){% endmacro %}

{% macro minutes_between(earlier, later) -%}
    (({{ epoch_seconds(later) }} - {{ epoch_seconds(earlier) }}) / 60.0e0)
{%- endmacro %}

{# A 64-bit hash of several columns: it finds candidates for equality, it never decides. #}
{% macro quick_hash(columns) %}{{ return(adapter.dispatch('quick_hash')(columns)) }}{% endmacro %}
{% macro default__quick_hash(columns) %}hash({{ columns | join(', ') }}){% endmacro %}
{% macro spark__quick_hash(columns) %}xxhash64({{ columns | join(', ') }}){% endmacro %}

{# One row for each item of a comma-separated text: a lateral source with the column `item`. #}
{% macro split_to_rows(relation, columns, text) %}{{ return(adapter.dispatch('split_to_rows')(relation, columns, text)) }}{% endmacro %}
{% macro default__split_to_rows(relation, columns, text) -%}
    select {{ columns | join(', ') }}, unnest(string_split({{ text }}, ',')) as item from {{ relation }} where {{ text }} <> ''
{%- endmacro %}
{% macro spark__split_to_rows(relation, columns, text) -%}
    select {{ columns | join(', ') }}, explode(split({{ text }}, ',')) as item from {{ relation }} where {{ text }} <> ''
{%- endmacro %}
