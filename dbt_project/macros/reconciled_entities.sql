{#
    Every entity that lands from outside with the staging model that judges its rows: the one that reads its source and
    has a column `disposition`. Found in dbt's graph, so that a new source is reconciled without a line here. Sources
    that Letterpress writes itself (history, scores) are left out by `meta: {reconciled: false}`.

    A staging model says in its .yml, under config, what stands for a row of it:
    meta: {reconcile: {key: review_id, event_time: updated_at, notes: {guest: "shop_customer_id is null"}}}
    key: one column or several (the row's hash without it); event_time: an expression (without it a row is never "not
    yet"); notes: what a used row is called by a condition, as in used:guest.

    Returns a list of {source_name, entity_name, model_name, relation, key, event_time, notes, is_view, is_event_stream};
    empty while parsing. What a stream's staging model says of a row stays so: rows are only appended, or it is a view
    over landed rows.
#}
{% macro reconciled_entities() %}
    {%- set found = [] -%}
    {%- if execute -%}
        {%- for source in graph.sources.values() | sort(attribute='unique_id') -%}
            {%- if source.config.meta.get('reconciled', true) -%}
                {%- set judges = [] -%}
                {%- for node in graph.nodes.values() -%}
                    {%- if
                        node.resource_type == 'model'
                        and source.unique_id in node.depends_on.nodes
                        and 'disposition' in node.columns
                    -%}
                        {%- do judges.append(node) -%}
                    {%- endif -%}
                {%- endfor -%}
                {%- if judges | length != 1 -%}
                    {{ exceptions.raise_compiler_error(
                        "source " ~ source.source_name ~ "." ~ source.name ~ ": expected one staging model that reads"
                        ~ " it and describes a column disposition, found "
                        ~ (judges | map(attribute='name') | sort | join(', ') or 'none')
                        ~ "; next step: see CONTRIBUTING.md, Add a source"
                    ) }}
                {%- endif -%}
                {%- set judge = judges[0] -%}
                {%- set given = judge.config.meta.get('reconcile', {}) -%}
                {%- set key = given.get('key', []) -%}
                {%- do found.append({
                    'source_name': source.schema,
                    'entity_name': source.identifier,
                    'model_name': judge.name,
                    'relation': judge.relation_name,
                    'key': [key] if key is string else key,
                    'event_time': given.get('event_time'),
                    'notes': given.get('notes', {}),
                    'is_view': judge.config.materialized == 'view',
                    'is_event_stream': judge.config.incremental_strategy == 'append'
                        or judge.config.materialized == 'view',
                }) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(found) }}
{% endmacro %}
