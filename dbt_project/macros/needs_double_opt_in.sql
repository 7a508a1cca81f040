{#
    Whether an opt-in for this channel, in this country, only counts once its request was confirmed (variable
    double_opt_in: channel → all, or a list of country codes). An unknown country may be one of them.
#}
{% macro needs_double_opt_in(channel, country_code) -%}
    {%- for name, countries in var('double_opt_in').items() -%}
        {%- if countries == 'all' -%}
            {{ channel }} = '{{ name }}' or
        {%- elif countries is string or countries is mapping -%}
            {{ exceptions.raise_compiler_error(
                "double_opt_in in dbt_project.yml: expected all or a list of country codes such as [DE, AT] for channel "
                ~ name ~ ", found " ~ countries
            ) }}
        {%- else -%}
            ({{ channel }} = '{{ name }}' and coalesce({{ country_code }} in ({{ quoted(countries) }}), true)) or
        {%- endif %}
    {% endfor -%}
    false
{%- endmacro %}
