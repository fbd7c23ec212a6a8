-- From when to when each system of devices has sent anything: its earliest day, and its latest reading, at most the time that all data
-- has reached. A device is silent by this, so that a platform that is late as a whole is no matter of its devices.
{{ config(materialized='table') }}
select
    system,
    min(hour_date) as first_date,
    least(max(last_at), {{ as_of() }}) as reached_at
from {{ ref('int_readings_summed') }}
group by system
