{{ config(alias='system') }}
-- The catalogue names a department as people do (税务), the seed by its whole name too (税务局).
select
    described.system,
    described.name_zh,
    described.name_en,
    described.department_zh,
    coalesce(department.name_en, described.department_zh) as department_en,
    described.domain,
    described.delivery,
    cast(described.frequency_minutes as bigint) as frequency_minutes,
    cast(described.latency_minutes as bigint) as latency_minutes,
    described.version
from {{ ref('catalogue_system') }} as described
left join {{ ref('department') }} as department
    on described.department_zh = department.name_zh or described.department_zh = department.short_zh
