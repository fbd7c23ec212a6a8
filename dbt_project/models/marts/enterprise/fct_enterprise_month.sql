{%- set touched_by = ['int_filings_versioned'] -%}
{{ config(
    materialized='incremental', incremental_strategy='replace_days', day='filing_month', grain='month', touched_by=touched_by,
    on_schema_change='fail', post_hook='{{ mark_built() }}'
) }}
{%- for model in touched_by %}
-- depends_on: {{ ref(model) }}
{%- endfor %}

with filing as (

    select * from {{ ref('stg_tax_filing__filing') }}
    where {{ is_touched('filing_month') }}

),

history as (

    select
        enterprise_code,
        filing_month,
        min(filed_date) as first_filed_date,
        max(case when filing_status = '逾期申报' then 1 else 0 end) = 1 as is_late,
        max(case when filing_status = '更正申报' then 1 else 0 end) = 1 as is_corrected
    from {{ ref('int_filings_versioned') }}
    where {{ is_touched('filing_month') }}
    group by enterprise_code, filing_month

),

community as (

    select * from {{ ref('community') }}

),

final as (

    select
        filing.enterprise_code as enterprise_id,
        filing.filing_month,
        coalesce(community.merged_into_community_id, community.community_id) as community_id,
        filing.industry_code,
        filing.revenue_yuan,
        filing.tax_due_yuan,
        filing.tax_paid_yuan,
        filing.employee_count,
        history.first_filed_date as filed_date,
        history.is_late,
        history.is_corrected
    from filing
    inner join history on filing.enterprise_code = history.enterprise_code and filing.filing_month = history.filing_month
    left join community on filing.community_code = community.community_id

)

select * from final
