-- made by `make generate` from sources/catalog; do not edit
{{ base_config('tax_filing__filing', keys=['enterprise_code', 'filing_month'], version='filed_date') }}

with landed as (

    {{ landed('tax_filing__filing', {
        'enterprise_code': ['统一社会信用代码'],
        'filing_month': ['所属期'],
        'enterprise_name': ['企业名称'],
        'community_code': ['社区代码'],
        'industry_code': ['行业代码'],
        'filed_date': ['申报日期'],
        'revenue_yuan': ['申报收入(元)'],
        'tax_due_yuan': ['应纳税额(元)'],
        'tax_paid_yuan': ['实缴税额(元)'],
        'employee_count': ['用工人数'],
        'filing_status': ['申报状态'],
    }) }}

),

sent as (

    select
        {{ sent('enterprise_code') }} as enterprise_code,
        {{ sent('filing_month') }} as filing_month,
        {{ sent('enterprise_name') }} as enterprise_name,
        {{ sent('community_code') }} as community_code,
        {{ sent('industry_code') }} as industry_code,
        {{ sent('filed_date') }} as filed_date,
        {{ sent('revenue_yuan') }} as revenue_yuan,
        {{ sent('tax_due_yuan') }} as tax_due_yuan,
        {{ sent('tax_paid_yuan') }} as tax_paid_yuan,
        {{ sent('employee_count') }} as employee_count,
        {{ sent('filing_status') }} as filing_status,
        _malformed, _load_id, _row, window_since, window_until
    from landed

),

typed as (

    select
        enterprise_code,
        filing_month,
        enterprise_name,
        community_code,
        industry_code,
        filed_date as filed_date__sent,
        {{ as_date('filed_date') }} as filed_date,
        revenue_yuan as revenue_yuan__sent,
        {{ as_number('revenue_yuan') }} as revenue_yuan,
        tax_due_yuan as tax_due_yuan__sent,
        {{ as_number('tax_due_yuan') }} as tax_due_yuan,
        tax_paid_yuan as tax_paid_yuan__sent,
        {{ as_number('tax_paid_yuan') }} as tax_paid_yuan,
        employee_count as employee_count__sent,
        {{ as_integer('employee_count') }} as employee_count,
        filing_status,
        _malformed, _load_id, _row, window_since, window_until
    from sent

),

judged as (

    select
        *,
        nullif(concat_ws(',',
            case when _malformed is not null then 'row:malformed' end,
            case when enterprise_code is null and _malformed is null then 'enterprise_code:required' end,
            case when not {{ re_like('enterprise_code', '^[0-9A-HJ-NP-RTUWXY]{18}$') }} then 'enterprise_code:pattern' end,
            case when filing_month is null and _malformed is null then 'filing_month:required' end,
            case when not {{ re_like('filing_month', '^20[0-9]{2}-(0[1-9]|1[0-2])$') }} then 'filing_month:pattern' end,
            case when community_code is null and _malformed is null then 'community_code:required' end,
            case when not {{ re_like('community_code', '^[0-9]{12}$') }} then 'community_code:pattern' end,
            case when not {{ re_like('industry_code', '^[A-T]$') }} then 'industry_code:pattern' end,
            case when filed_date__sent is null and _malformed is null then 'filed_date:required' end,
            case when filed_date__sent is not null and filed_date is null then 'filed_date:type' end,
            case when revenue_yuan__sent is not null and revenue_yuan is null then 'revenue_yuan:type' end,
            case when revenue_yuan < 0 then 'revenue_yuan:minimum' end,
            case when revenue_yuan > 100000000000 then 'revenue_yuan:maximum' end,
            case when tax_due_yuan__sent is not null and tax_due_yuan is null then 'tax_due_yuan:type' end,
            case when tax_due_yuan < 0 then 'tax_due_yuan:minimum' end,
            case when tax_due_yuan > 20000000000 then 'tax_due_yuan:maximum' end,
            case when tax_paid_yuan__sent is not null and tax_paid_yuan is null then 'tax_paid_yuan:type' end,
            case when tax_paid_yuan < 0 then 'tax_paid_yuan:minimum' end,
            case when tax_paid_yuan > 20000000000 then 'tax_paid_yuan:maximum' end,
            case when employee_count__sent is not null and employee_count is null then 'employee_count:type' end,
            case when employee_count < 0 then 'employee_count:minimum' end,
            case when employee_count > 200000 then 'employee_count:maximum' end,
            case when filing_status is null and _malformed is null then 'filing_status:required' end,
            case when filing_status not in ('按期申报', '逾期申报', '更正申报') then 'filing_status:values' end,
            case when cast(filed_date as {{ ts_type() }}) > window_until + interval 1 day then 'filed_date:in_future' end
        ), '') as _broken_rules
    from typed

),

checked as (

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
        _load_id, _row, _broken_rules,
        case when _broken_rules is null then filed_date else {{ shanghai_day('window_until') }} end as _day
    from judged

)

{{ added(['enterprise_code', 'filing_month', 'enterprise_name', 'community_code', 'industry_code', 'filed_date', 'revenue_yuan', 'tax_due_yuan', 'tax_paid_yuan', 'employee_count', 'filing_status']) }}
