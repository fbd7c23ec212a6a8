{# How long a device may be without a reading, minutes: three readings missed, and never less than an hour. #}
{% macro silence_limit_minutes(cadence_minutes) -%}
    greatest(3 * {{ cadence_minutes }}, 60)
{%- endmacro %}

{#
  Silence: a device was not heard for longer than its limit and the rule's threshold, minutes. Holds from the end of that time on, ends
  when the device is heard again. Judged by the time that its own system has reached, and the time in which no device of the system was
  heard for over an hour does not count: a platform that was late or down as a whole is a matter of freshness.

  Reads the CTE rule, and device: device_id, system, start_at (when readings could first be expected), first_heard_at, last_heard_at (null
  where never heard), reached_at (of its system). Gives the columns that level.sql names.
#}
{% macro detect_silence() -%}
    {%- set overlap = minutes_between('greatest(platform.from_at, gap.start_at)', 'least(platform.until_at, gap.until_at)') -%}
    select
        rule_id,
        'device' as target_kind,
        device_id as target_id,
        device_id,
        system,
        community_id,
        cast(null as {{ text_type() }}) as measure_id,
        start_at,
        start_at + interval 1 minute * cast(limit_minutes + early_down_minutes as bigint) as raised_at,
        ended_at,
        {{ minutes_between('start_at', 'until_at') }} as observed_value,
        cast(limit_minutes as double) as threshold_value,
        cast(null as {{ text_type() }}) as outcome
    from (
        select
            gap.rule_id,
            gap.device_id,
            gap.system,
            gap.community_id,
            gap.start_at,
            gap.until_at,
            gap.ended_at,
            gap.limit_minutes,
            coalesce(sum(case when platform.from_at is not null then {{ overlap }} end), 0) as down_minutes,
            coalesce(
                sum(case when platform.from_at < gap.start_at + interval 1 minute * gap.limit_minutes then {{ overlap }} end), 0
            ) as early_down_minutes
        from (
            select
                rule.rule_id,
                silent.device_id,
                silent.system,
                registered.community_id,
                silent.start_at,
                silent.until_at,
                silent.ended_at,
                cast(greatest({{ silence_limit_minutes('registered.cadence_minutes') }}, rule.threshold) as bigint) as limit_minutes
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
            ) as silent
            inner join {{ ref('int_devices_versioned') }} as registered
                on silent.device_id = registered.device_id
                and silent.start_at >= registered.valid_from_at
                and silent.start_at < registered.valid_to_at
            inner join rule on rule.kind = 'silence'
        ) as gap
        left join (
            select
                system,
                from_at,
                until_at
            from (
                select
                    system,
                    max(until_at) over (
                        partition by system order by from_at, until_at, device_id rows between unbounded preceding and 1 preceding
                    ) as from_at,
                    from_at as until_at
                from {{ ref('int_devices_heard') }}
            ) as pause
            where {{ minutes_between('from_at', 'until_at') }} > 60
        ) as platform
            on gap.system = platform.system
            and platform.from_at < gap.until_at
            and platform.until_at > gap.start_at
        where {{ minutes_between('gap.start_at', 'gap.until_at') }} > gap.limit_minutes
        group by
            gap.rule_id,
            gap.device_id,
            gap.system,
            gap.community_id,
            gap.start_at,
            gap.until_at,
            gap.ended_at,
            gap.limit_minutes
    ) as judged
    where {{ minutes_between('start_at', 'until_at') }} - down_minutes > limit_minutes
{%- endmacro %}
