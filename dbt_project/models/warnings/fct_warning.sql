-- Every warning that an active rule raises, from what the rules look at: stretches, days and hazards, never single readings. So it is made
-- anew in each build, and is the same whatever the builds before it were. A rule is a row of the seed, a kind of rule a macro.
with rule as (

    select * from {{ ref('warning_rule') }}
    where is_active

),

heard as (

    select
        device_id,
        min(from_at) as first_heard_at,
        max(until_at) as last_heard_at
    from {{ ref('int_devices_heard') }}
    group by device_id

),

registered as (

    select distinct
        device_id,
        system,
        expected_from_at
    from {{ ref('int_devices_versioned') }}

),

reached as (

    select
        system,
        {{ from_shanghai('cast(first_date as ' ~ ts_type() ~ ')') }} as start_at,
        reached_at
    from {{ ref('int_systems_reached') }}

),

device as (

    select
        registered.device_id,
        registered.system,
        greatest(registered.expected_from_at, reached.start_at) as start_at,
        heard.first_heard_at,
        heard.last_heard_at,
        reached.reached_at
    from registered
    inner join reached on registered.system = reached.system
    left join heard on registered.device_id = heard.device_id
    where registered.expected_from_at < reached.reached_at

),

detected as (

    {{ detect_level() }}
    union all
    {{ detect_silence() }}
    union all
    {{ detect_flatline() }}
    union all
    {{ detect_hazard() }}

),

measure as (

    select * from {{ ref('measure') }}

),

owner as (

    select
        described.system,
        min(department.department_id) as department_id
    from {{ ref('governance_system') }} as described
    inner join {{ ref('department') }} as department
        on described.department_zh = department.name_zh or described.department_zh = department.short_zh
    group by described.system

),

judged as (

    select
        {{ stable_id(['detected.rule_id', 'detected.target_id', 'detected.start_at'], times=['detected.start_at']) }} as warning_id,
        rule.name_zh as rule_zh,
        rule.name_en as rule_en,
        rule.kind,
        rule.severity,
        coalesce(rule.department_id, owner.department_id) as department_id,
        detected.raised_at + interval 1 minute * rule.due_minutes as due_at,
        measure.name_zh as measure_zh,
        measure.name_en as measure_en,
        measure.unit_zh,
        measure.unit_en,
        {{ number_text('detected.observed_value') }} as observed_text,
        {{ number_text('detected.threshold_value') }} as threshold_text,
        {{ shanghai_text('detected.start_at') }} as start_text,
        detected.*
    from detected
    inner join rule on detected.rule_id = rule.rule_id
    left join measure on detected.measure_id = measure.measure_id
    left join owner on detected.system = owner.system

)

select
    warning_id,
    rule_id,
    rule_zh,
    rule_en,
    kind,
    system,
    target_kind,
    target_id,
    device_id,
    community_id,
    severity,
    raised_at,
    ended_at,
    ended_at is null as is_open,
    due_at,
    coalesce(ended_at, {{ as_of() }}) > due_at as is_overdue,
    department_id,
    measure_id,
    observed_value,
    threshold_value,
    case kind
        when 'level' then start_text || ' 起' || measure_zh || '达到报警值，最高 ' || observed_text || ' ' || unit_zh || '，报警值 ' || threshold_text || ' ' || unit_zh
        when 'silence' then '自 ' || start_text || ' 起无读数，已 ' || observed_text || ' 分钟，允许 ' || threshold_text || ' 分钟'
        when 'flatline' then '自 ' || start_text || ' 起' || measure_zh || '读数始终为 ' || observed_text || ' ' || unit_zh || '，判定需 ' || threshold_text || ' 整日'
        when 'hazard_grade' then start_text || ' 发现，等级 ' || observed_text || ' 级，' || threshold_text || ' 级及以上提示'
        when 'hazard_overdue' then '未处置 ' || observed_text || ' 天，限 ' || threshold_text || ' 天，' || start_text || ' 起超期'
    end as evidence_zh,
    case kind
        when 'level' then measure_en || ' at or above the alarm level from ' || start_text || ', greatest ' || observed_text || ' ' || unit_en
            || ', alarm level ' || threshold_text || ' ' || unit_en
        when 'silence' then 'No reading since ' || start_text || ', for ' || observed_text || ' minutes, allowed ' || threshold_text || ' minutes'
        when 'flatline' then measure_en || ' reads ' || observed_text || ' ' || unit_en || ' all the time since ' || start_text
            || ', whole days it takes: ' || threshold_text
        when 'hazard_grade' then 'Found ' || start_text || ', grade ' || observed_text || ', hinted at from grade ' || threshold_text || ' up'
        when 'hazard_overdue' then 'Open for ' || observed_text || ' days, allowed ' || threshold_text || ' days, overdue from ' || start_text
    end as evidence_en,
    outcome,
    {{ shanghai_day('raised_at') }} as raised_date,
    {{ shanghai_month('raised_at') }} as raised_month
from judged
