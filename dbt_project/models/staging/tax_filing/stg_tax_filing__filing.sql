-- made by `make generate` from sources/catalog; do not edit
{{ config(schema='staging', materialized='view') }}

select
    enterprise_code,
    filing_month,
    enterprise_name,
    community_code,
    industry_code,
    filed_date,
    revenue_yuan,
    tax_due_yuan,
    tax_paid_yuan,
    employee_count,
    filing_status,
    _load_id,
    _row,
    _build_id,
    _day
from {{ ref('base_tax_filing__filing') }}
where not _is_superseded and _broken_rules is null
