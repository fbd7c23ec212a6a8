{{ config(alias='data_dictionary') }}
select
    system,
    entity,
    column_name,
    source_name,
    name_zh,
    logical_type,
    data_level,
    pi_class,
    sharing,
    opening,
    is_identifier,
    purpose,
    retention,
    typed_by_community
from {{ ref('catalogue_column') }}
