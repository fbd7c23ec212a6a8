{# What people type by hand, read as what they meant; null where it cannot be told. #}

{# 1 (gravest) to 4 from 三级, Ⅲ级, III, 3级, 3 级, 叁级 … #}
{% macro grade_of(text) -%}
    {%- set typed = "upper(replace(replace(trim(" ~ text ~ "), ' ', ''), '　', ''))" -%}
    case
        {%- for grade, spelt in [(1, '一|壹|1|１|I|Ⅰ|ⅰ'), (2, '二|贰|2|２|II|Ⅱ|ⅱ'), (3, '三|叁|3|３|III|Ⅲ|ⅲ'), (4, '四|肆|4|４|IV|Ⅳ|ⅳ')] %}
        when {{ re_like(typed, '^第?(' ~ spelt ~ ')(级|級|$)') }} then {{ grade }}
        {%- endfor %}
    end
{%- endmacro %}

{# The bare name of a community: without 社区, 居委会 and the subdistrict in front of it. #}
{% macro bare_community_name(text) -%}
    {%- set ns = namespace(sql="trim(" ~ text ~ ")") -%}
    {%- for part in [' ', '　', '社区居民委员会', '社区居委会', '居民委员会', '居委会', '社区', '村委会'] -%}
        {%- set ns.sql = "replace(" ~ ns.sql ~ ", '" ~ part ~ "', '')" -%}
    {%- endfor -%}
    {{ ns.sql }}
{%- endmacro %}
