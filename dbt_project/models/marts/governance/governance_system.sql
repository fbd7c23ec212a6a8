{{ config(alias='system') }}
select
    system,
    name_zh,
    name_en,
    department_zh,
    domain,
    delivery,
    frequency_minutes,
    latency_minutes,
    version
from {{ ref('catalogue_system') }}
