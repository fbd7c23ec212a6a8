select
    department_id,
    name_zh,
    name_en
from {{ ref('department') }}
