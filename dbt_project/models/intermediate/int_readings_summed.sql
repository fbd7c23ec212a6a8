{#-
  Readings by device, measure and hour, before anything registered is joined: what a registration changes can be computed again from
  here when the base rows of its days are gone. Sums are exact (decimal), so that the order of rows cannot show in the last digit.
-#}
{%- set measures = [
    ('stg_waterlogging__water_level', 'base_waterlogging__water_level', 'water_level_m'),
    ('stg_waterlogging__rain_gauge', 'base_waterlogging__rain_gauge', 'rain_mm'),
] -%}
{%- set touched_by = measures | map(attribute=1) | list -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='hour_date', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with reading as (
    {% for staging, base, measure in measures %}
    select
        device_id,
        '{{ measure }}' as measure_id,
        cast(date_trunc('hour', observed_at) as {{ ts_type() }}) as hour_at,
        _day as hour_date,
        cast({{ measure }} as decimal(18, 6)) as value
    from {{ ref(staging) }}
    where {{ is_touched('_day') }}
    {% if not loop.last %}union all{% endif %}
    {%- endfor %}
)

select
    device_id,
    measure_id,
    hour_at,
    hour_date,
    count(*) as reading_count,
    min(value) as value_min,
    max(value) as value_max,
    sum(value) as value_sum
from reading
group by device_id, measure_id, hour_at, hour_date
