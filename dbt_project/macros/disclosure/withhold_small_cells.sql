{#
  Which cells of a table of counts are withheld, over three levels of area: community, subdistrict (its parent), district.

  Method: a minimum frequency rule with complementary suppression, as in Hundepool et al., Statistical Disclosure Control
  (Wiley, 2012), chapter 4. Two things are particular to this table:
    * The figure in a cell counts every incident, but only its sensitive part (incidents about persons or enterprises) needs
      protection. A cell whose sensitive part is 0 is always shown, zero included; one whose sensitive part is 1 to
      threshold - 1 is withheld.
    * A reader who knows these rules knows that a withheld cell holds at least one sensitive incident. So a sum of withheld cells
      that can be had by subtraction is safe only if what is left after one for each cell is still threshold - 1 or more
      ("slack" below). This asks for two cells or more, and for a sensitive sum of at least the threshold.

  `cells` names a CTE with one row for each community in each group, holding the columns of `group_by`, community_id,
  subdistrict_id, incident_count, sensitive_count and minimum_count (the threshold, the same in all rows).
  Written into a `with` list, the macro adds CTEs of which `suppressed` is the result: the columns of group_by, area_level, area_id,
  incident_count, is_withheld; one row for each area of each group.

  Protection rests on the sensitive parts alone: it holds against a reader who has the physical part of every cell. Not covered is one
  who also reasons about why one cell and not another was taken as a complement (minimality attack): that narrows a withheld cell down
  further.

  The areas are a tree, so what follows from the published figures are the sums of withheld communities under each subdistrict
  whose total is shown, and under all subdistricts whose totals are withheld together. The steps see to each of these in turn.
#}
{% macro withhold_small_cells(cells, group_by) -%}
{%- set by = group_by | join(', ') -%}
{#- Step 1. Primary suppression, and which cells could stand in as a complement: the smallest that is no primary one. -#}
cells_marked as (
    select
        {{ by }}, subdistrict_id, community_id, incident_count, sensitive_count, minimum_count,
        sensitive_count > 0 and sensitive_count < minimum_count as is_primary,
        sensitive_count > 0 and sensitive_count >= minimum_count as is_candidate,
        row_number() over (
            partition by {{ by }}, subdistrict_id, sensitive_count > 0 and sensitive_count >= minimum_count
            order by incident_count, community_id
        ) as rank_by_size
    from {{ cells }}
),

{# Step 2. Would a subdistrict's total give its primary cells away? "Exposed" means it would, with no complement to be had. -#}
subdistricts_summed as (
    select
        {{ by }}, subdistrict_id,
        sum(incident_count) as incident_count,
        sum(sensitive_count) as sensitive_count,
        max(minimum_count) as minimum_count,
        sum(case when is_primary then 1 else 0 end) as primary_count,
        sum(case when is_primary then sensitive_count - 1 else 0 end) as slack,
        sum(case when is_candidate then 1 else 0 end) as candidate_count
    from cells_marked
    group by {{ by }}, subdistrict_id
),

subdistricts_judged as (
    select
        *,
        primary_count > 0 and slack < minimum_count - 1 and candidate_count > 0 as needs_complement,
        primary_count > 0 and slack < minimum_count - 1 and candidate_count = 0 as is_exposed
    from subdistricts_summed
),

{# Step 3. Exposed subdistricts lose their totals. Their primary cells are then protected together, if they are enough; if they are
   not, the smallest other subdistrict with something sensitive joins them. -#}
subdistricts_ranked as (
    select
        *,
        row_number() over (
            partition by {{ by }}, sensitive_count > 0 and not is_exposed
            order by incident_count, subdistrict_id
        ) as rank_by_size
    from subdistricts_judged
),

district_judged as (
    select
        {{ by }},
        sum(incident_count) as incident_count,
        sum(case when is_exposed then 1 else 0 end) > 0
        and sum(case when is_exposed then slack else 0 end) < max(minimum_count) - 1 as is_thin,
        sum(case when sensitive_count > 0 and not is_exposed then 1 else 0 end) as candidate_count
    from subdistricts_ranked
    group by {{ by }}
),

subdistricts_withheld as (
    select
        {% for column in group_by %}s.{{ column }}, {% endfor %}s.subdistrict_id, s.incident_count, s.needs_complement,
        s.is_exposed
        or (d.is_thin and s.sensitive_count > 0 and s.rank_by_size = 1) as is_withheld,
        {# Step 4. A total that is the sum of shown cells protects nothing: such a complement withholds a cell of its own too. -#}
        d.is_thin and s.sensitive_count > 0 and not s.is_exposed and s.rank_by_size = 1 and s.primary_count = 0
        as needs_own_cell
    from subdistricts_ranked as s
    inner join district_judged as d
        on {% for column in group_by %}s.{{ column }} = d.{{ column }}{{ ' and ' if not loop.last }}{% endfor %}
),

{# Step 5. Where no subdistrict can join, the district's own total goes. -#}
suppressed as (
    select
        {% for column in group_by %}c.{{ column }}, {% endfor %}'community' as area_level, c.community_id as area_id,
        c.incident_count,
        c.is_primary
        or (c.is_candidate and c.rank_by_size = 1 and (s.needs_complement or s.needs_own_cell)) as is_withheld
    from cells_marked as c
    inner join subdistricts_withheld as s
        on {% for column in group_by %}c.{{ column }} = s.{{ column }} and {% endfor %}c.subdistrict_id = s.subdistrict_id
    union all
    select {{ by }}, 'subdistrict', subdistrict_id, cast(incident_count as bigint), is_withheld
    from subdistricts_withheld
    union all
    select {{ by }}, 'district', '', cast(incident_count as bigint), is_thin and candidate_count = 0
    from district_judged
)
{%- endmacro %}
