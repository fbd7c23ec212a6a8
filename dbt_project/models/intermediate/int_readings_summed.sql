{#-
  Readings by device, measure and hour, before anything registered is joined: what a registration changes can be computed again from
  here when the base rows of its days are gone. Sums are exact (decimal), so that the order of rows cannot show in the last digit.
  A base table is gone through once, whatever number of measures it holds.
-#}
{%- set sources = [
    ('waterlogging', 'stg_waterlogging__water_level', ['water_level_m'], 'battery_pct'),
    ('waterlogging', 'stg_waterlogging__rain_gauge', ['rain_mm'], none),
    ('fire_detection', 'stg_fire_detection__smoke_reading', ['smoke_obscuration_pct', 'temperature_celsius'], 'battery_pct'),
] -%}
{%- set touched_by = ['base_waterlogging__water_level', 'base_waterlogging__rain_gauge', 'base_fire_detection__smoke_reading'] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='hour_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with
{%- for system, staging, measures, battery in sources %}
{{ staging | replace('stg_', '') }} as (

    select
        device_id,
        cast(date_trunc('hour', observed_at) as {{ ts_type() }}) as hour_at,
        _day as hour_date,
        min(observed_at) as first_at,
        max(observed_at) as last_at,
        {% if battery %}min({{ battery }}){% else %}cast(null as double){% endif %} as battery_pct_min
        {%- for measure in measures %},
        count({{ measure }}) as {{ measure }}__count,
        min(cast({{ measure }} as decimal(18, 6))) as {{ measure }}__min,
        max(cast({{ measure }} as decimal(18, 6))) as {{ measure }}__max,
        sum(cast({{ measure }} as decimal(18, 6))) as {{ measure }}__sum
        {%- endfor %}
    from {{ ref(staging) }}
    where {{ is_touched('_day') }}
    group by device_id, cast(date_trunc('hour', observed_at) as {{ ts_type() }}), _day

){{ ',' if not loop.last }}
{% endfor %}
{%- for system, staging, measures, battery in sources %}
{%- set first = loop.first %}
{%- for measure in measures %}
{% if not (first and loop.first) %}union all{% endif %}
select
    device_id,
    '{{ measure }}' as measure_id,
    '{{ system }}' as system,
    hour_at,
    hour_date,
    {{ measure }}__count as reading_count,
    {{ measure }}__min as value_min,
    {{ measure }}__max as value_max,
    {{ measure }}__sum as value_sum,
    first_at,
    last_at,
    battery_pct_min
from {{ staging | replace('stg_', '') }}
where {{ measure }}__count > 0
{%- endfor %}
{%- endfor %}
