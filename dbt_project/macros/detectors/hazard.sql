{#
  Hazards of the ground: hazard_grade holds from the day a hazard of the threshold's grade or a graver one was found; hazard_overdue from the
  day on which one of any grade has been open for the threshold's days. Both end on the day of treatment. Days begin at midnight in
  Shanghai. Reads the CTE rule; gives the columns that level.sql names.
#}
{% macro detect_hazard() -%}
    select
        rule_id,
        'place' as target_kind,
        hazard_id as target_id,
        cast(null as {{ text_type() }}) as device_id,
        system,
        community_id,
        cast(null as {{ text_type() }}) as measure_id,
        raised_at as start_at,
        raised_at,
        case when treated_at is not null then greatest(treated_at, raised_at) end as ended_at,
        observed_value,
        threshold_value,
        cast(null as {{ text_type() }}) as outcome
    from (
        select
            rule.rule_id,
            hazard.hazard_id,
            hazard.system,
            hazard.community_id,
            {{ from_shanghai('cast(hazard.found_date as ' ~ ts_type() ~ ')') }}
            + interval 24 hour * cast(case when rule.kind = 'hazard_overdue' then rule.threshold else 0 end as bigint) as raised_at,
            {{ from_shanghai('cast(hazard.treated_date as ' ~ ts_type() ~ ')') }} as treated_at,
            cast(case when rule.kind = 'hazard_overdue' then hazard.open_days else hazard.grade end as double) as observed_value,
            rule.threshold as threshold_value
        from {{ ref('fct_ground_hazard') }} as hazard
        inner join rule
            on (rule.kind = 'hazard_grade' and hazard.grade <= rule.threshold)
            or (rule.kind = 'hazard_overdue' and hazard.open_days >= rule.threshold)
    ) as held
    where raised_at <= {{ as_of() }}
{%- endmacro %}
