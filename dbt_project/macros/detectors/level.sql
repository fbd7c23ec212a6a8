{#
  Level: readings of a measure at or above the alarm level registered with their device. Holds from the reading_count-th reading (1 or 2)
  of a stretch on, ends with its last. What the fire brigade found at an alarm within an hour of a stretch of smoke is its outcome.

  Reads the CTE rule. Every detector gives rule_id, target_kind, target_id, device_id, system, community_id, measure_id, start_at (with
  rule and target what makes the warning the same one in every build), raised_at, ended_at, observed_value, threshold_value, outcome.
#}
{% macro detect_level() -%}
    select
        rule.rule_id,
        'device' as target_kind,
        stretch.device_id as target_id,
        stretch.device_id,
        stretch.system,
        stretch.community_id,
        stretch.measure_id,
        stretch.first_at as start_at,
        case when rule.reading_count = 1 then stretch.first_at else stretch.second_at end as raised_at,
        case when not stretch.is_open then stretch.last_at end as ended_at,
        cast(stretch.peak_value as double) as observed_value,
        cast(stretch.alarm_level as double) as threshold_value,
        verified.outcome
    from {{ ref('int_levels_joined') }} as stretch
    inner join rule on rule.kind = 'level' and stretch.measure_id = rule.measure_id and stretch.reading_count >= rule.reading_count
    left join (
        select
            smoke.device_id,
            smoke.first_at,
            case
                when max(case when alarm.outcome = 'fire' then 1 else 0 end) = 1 then 'confirmed'
                when count(alarm.outcome) > 0 then 'false'
            end as outcome
        from {{ ref('int_levels_joined') }} as smoke
        inner join {{ ref('stg_fire_detection__fire_alarm') }} as alarm
            on smoke.device_id = alarm.device_id
            and alarm.raised_at >= smoke.first_at - interval 1 hour
            and alarm.raised_at <= smoke.last_at + interval 1 hour
        where smoke.measure_id = 'smoke_obscuration_pct'
        group by smoke.device_id, smoke.first_at
    ) as verified
        on stretch.measure_id = 'smoke_obscuration_pct'
        and stretch.device_id = verified.device_id
        and stretch.first_at = verified.first_at
{%- endmacro %}
