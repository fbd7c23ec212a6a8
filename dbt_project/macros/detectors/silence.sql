{# How long a device may be without a reading, minutes: three readings missed, and never less than an hour. #}
{% macro silence_limit_minutes(cadence_minutes) -%}
    greatest(3 * {{ cadence_minutes }}, 60)
{%- endmacro %}

{#
  Silence: a device was not heard for longer than its limit and the rule's threshold, minutes. Holds from the end of that time on, ends
  when the device is heard again. Judged by the time that its own system has reached: a system that is late as a whole is none of this.

  Reads the CTE rule, and device: device_id, system, start_at (when readings could first be expected), first_heard_at, last_heard_at (null
  where never heard), reached_at (of its system). Gives the columns that level.sql names.
#}
{% macro detect_silence() -%}
    {%- set limit = 'greatest(' ~ silence_limit_minutes('registered.cadence_minutes') ~ ', rule.threshold)' -%}
    select
        rule.rule_id,
        'device' as target_kind,
        gap.device_id as target_id,
        gap.device_id,
        gap.system,
        registered.community_id,
        cast(null as {{ text_type() }}) as measure_id,
        gap.start_at,
        gap.start_at + interval 1 minute * cast({{ limit }} as bigint) as raised_at,
        gap.ended_at,
        {{ minutes_between('gap.start_at', 'gap.until_at') }} as observed_value,
        cast({{ limit }} as double) as threshold_value,
        cast(null as {{ text_type() }}) as outcome
    from (
        select
            device_id,
            system,
            lag(until_at) over (partition by device_id order by from_at, until_at) as start_at,
            from_at as until_at,
            case when not is_end then from_at end as ended_at
        from (
            select device_id, system, from_at, until_at, false as is_end
            from {{ ref('int_devices_heard') }}
            union all
            select device_id, system, start_at as from_at, start_at as until_at, false as is_end
            from device
            where first_heard_at is null or first_heard_at > start_at
            union all
            select device_id, system, reached_at as from_at, reached_at as until_at, true as is_end
            from device
            where last_heard_at is null or last_heard_at < reached_at
        ) as mark
    ) as gap
    inner join {{ ref('int_devices_versioned') }} as registered
        on gap.device_id = registered.device_id
        and gap.start_at >= registered.valid_from_at
        and gap.start_at < registered.valid_to_at
    inner join rule on rule.kind = 'silence'
    where {{ minutes_between('gap.start_at', 'gap.until_at') }} > {{ limit }}
{%- endmacro %}
