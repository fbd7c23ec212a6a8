{{ config(alias='system') }}
select
    system,
    name_zh,
    name_en,
    department_zh,
    domain,
    delivery,
    cast(frequency_minutes as bigint) as frequency_minutes,
    cast(latency_minutes as bigint) as latency_minutes,
    version
from {{ ref('catalogue_system') }}
