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
        {{ broken_rules([
            ('row:malformed', "_malformed is not null"),
            ('enterprise_code:required', "enterprise_code is null and _malformed is null"),
            ('enterprise_code:pattern', "not " ~ re_like('enterprise_code', '^[0-9A-HJ-NP-RTUWXY]{18}$')),
            ('filing_month:required', "filing_month is null and _malformed is null"),
            ('filing_month:pattern', "not " ~ re_like('filing_month', '^20[0-9]{2}-(0[1-9]|1[0-2])$')),
            ('community_code:required', "community_code is null and _malformed is null"),
            ('community_code:pattern', "not " ~ re_like('community_code', '^[0-9]{12}$')),
            ('industry_code:pattern', "not " ~ re_like('industry_code', '^[A-T]$')),
            ('filed_date:required', "filed_date__sent is null and _malformed is null"),
            ('filed_date:type', "filed_date__sent is not null and filed_date is null"),
            ('revenue_yuan:type', "revenue_yuan__sent is not null and revenue_yuan is null"),
            ('revenue_yuan:minimum', "revenue_yuan < 0"),
            ('revenue_yuan:maximum', "revenue_yuan > 100000000000"),
            ('tax_due_yuan:type', "tax_due_yuan__sent is not null and tax_due_yuan is null"),
            ('tax_due_yuan:minimum', "tax_due_yuan < 0"),
            ('tax_due_yuan:maximum', "tax_due_yuan > 20000000000"),
            ('tax_paid_yuan:type', "tax_paid_yuan__sent is not null and tax_paid_yuan is null"),
            ('tax_paid_yuan:minimum', "tax_paid_yuan < 0"),
            ('tax_paid_yuan:maximum', "tax_paid_yuan > 20000000000"),
            ('employee_count:type', "employee_count__sent is not null and employee_count is null"),
            ('employee_count:minimum', "employee_count < 0"),
            ('employee_count:maximum', "employee_count > 200000"),
            ('filing_status:required', "filing_status is null and _malformed is null"),
            ('filing_status:values', "filing_status not in ('按期申报', '逾期申报', '更正申报')"),
            ('filed_date:in_future', "cast(filed_date as " ~ ts_type() ~ ") > window_until + interval 1 day"),
        ]) }} as _broken_rules
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
