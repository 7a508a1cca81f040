-- Nobody is told a tag that is no segment, or loses one: the RFM segment and the tags are all segments.
with audience as (
    select * from {{ ref('sync_customers') }}
),

counted as (
    select
        customer_id,
        {{ comma_list_length('segments') }} as segment_count,
        {{ comma_list_length('behaviour_tags') }} as tag_count,
        case when rfm_segment_key is null then 0 else 1 end as rfm_count
    from audience
)

select * from counted
where segment_count <> tag_count + rfm_count
