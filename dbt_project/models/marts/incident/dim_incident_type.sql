select
    incident_type.incident_type_id,
    incident_type.name_zh,
    incident_type.name_en,
    incident_type.category_id,
    category.name_zh as category_zh,
    category.name_en as category_en,
    incident_type.disclosure_unit,
    incident_type.department_id,
    incident_type.due_hours,
    incident_type.is_district_only
from {{ ref('incident_type') }} as incident_type
inner join {{ ref('publication_category') }} as category on incident_type.category_id = category.category_id
