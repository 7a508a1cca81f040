-- Where labels did not come to rest, linked accounts would be taken for different people; raise the variable
-- identity_propagation_rounds.
with links as (
    select * from {{ ref('int_identity_links_collected') }}
),

components as (
    select * from {{ ref('int_components_propagated') }}
)

select
    links.left_identifier,
    links.right_identifier
from links
left join components as left_components on links.left_group = left_components.group_key
left join components as right_components on links.right_group = right_components.group_key
where
    links.left_group <> links.right_group
    and coalesce(left_components.component_key <> right_components.component_key, true)
