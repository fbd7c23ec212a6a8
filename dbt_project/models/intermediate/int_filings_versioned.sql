-- Every whole filing ever received, its month as a day, so that facts by filing month can name it in `touched_by`.
select
    enterprise_code,
    filing_month,
    filed_date,
    filing_status,
    cast(filing_month || '-01' as date) as _day,
    _build_id
from {{ ref('base_tax_filing__filing') }}
where _broken_rules is null
