{#
  Flatline: all readings of a measure equal on the rule's threshold of whole days in succession, days that cannot be judged passed over.
  Holds from the end of the last of these on, ends with the first whole day on which the readings vary. Which days are flat says
  fct_device_day. Reads the CTE rule; gives the columns that level.sql names.
#}
{% macro detect_flatline() -%}
    select
        rule.rule_id,
        'device' as target_kind,
        run.device_id as target_id,
        run.device_id,
        run.system,
        run.community_id,
        run.measure_id,
        run.start_at,
        run.start_at + interval 24 hour * cast(rule.threshold as bigint) as raised_at,
        run.ended_at,
        run.observed_value,
        rule.threshold as threshold_value,
        cast(null as {{ text_type() }}) as outcome
    from (
        select
            device_id,
            system,
            max(case when position = 1 then community_id end) as community_id,
            max(case when position = 1 then flatline_measure_id end) as measure_id,
            max(case when position = 1 then flatline_value end) as observed_value,
            min(case when is_flatline then {{ from_shanghai('cast(day_date as ' ~ ts_type() ~ ')') }} end) as start_at,
            max(case when not is_flatline then {{ from_shanghai('cast(day_date as ' ~ ts_type() ~ ')') }} + interval 24 hour end) as ended_at,
            count(case when is_flatline then 1 end) as day_count
        from (
            {#- A run is its flat days and the first one after them that is not. -#}
            select
                *,
                row_number() over (partition by device_id, run_number order by day_date) as position
            from (
                select
                    *,
                    sum(case when is_flatline and not coalesce(was_flatline, false) then 1 else 0 end) over (
                        partition by device_id order by day_date rows between unbounded preceding and current row
                    ) as run_number
                from (
                    select
                        device_id,
                        system,
                        community_id,
                        day_date,
                        is_flatline,
                        flatline_measure_id,
                        flatline_value,
                        lag(is_flatline) over (partition by device_id order by day_date) as was_flatline
                    from {{ ref('fct_device_day') }}
                    where is_flatline is not null
                ) as judged
            ) as numbered
            where run_number > 0 and (is_flatline or was_flatline)
        ) as ranked
        group by device_id, system, run_number
    ) as run
    inner join rule on rule.kind = 'flatline' and run.day_count >= rule.threshold
{%- endmacro %}
