{%- set rounds = var('identity_propagation_rounds') | int %}

with links as (
    select
        left_group,
        right_group
    from {{ ref('int_identity_links_collected') }}
    where left_group <> right_group
),

edges as (
    select
        left_group as node,
        right_group as neighbour
    from links
    union
    select
        right_group as node,
        left_group as neighbour
    from links
),

labels_0 as (
    select
        node,
        min(case when neighbour < node then neighbour else node end) as least_node
    from edges
    group by node
),

-- In each round a node takes the least label that its neighbours have, and then the label of that label, so
-- that long chains shrink by half: labels cross a component of n nodes in about log(n) rounds.
{% for round in range(1, rounds + 1) %}
heard_{{ round }} as (
    select
        edges.node,
        min(
            case when theirs.least_node < mine.least_node then theirs.least_node else mine.least_node end
        ) as least_node
    from edges
    inner join labels_{{ round - 1 }} as theirs on edges.neighbour = theirs.node
    inner join labels_{{ round - 1 }} as mine on edges.node = mine.node
    group by edges.node
),

labels_{{ round }} as (
    select
        heard.node,
        coalesce(further.least_node, heard.least_node) as least_node
    from heard_{{ round }} as heard
    left join heard_{{ round }} as further on heard.least_node = further.node
),
{% endfor %}
final as (
    select
        node as group_key,
        least_node as component_key
    from labels_{{ rounds }}
)

select * from final
