{#
    An e-mail address as people are joined by it: the sendable one without the tag that the mailbox's owner put
    behind a plus sign. The variable email_tag_domains says whose tags are dropped: 'all', or a list of domains
    (none in an empty one).
#}
{% macro normalised_email(expression) -%}
    {%- set address = sendable_email(expression) -%}
    {%- set domains = var('email_tag_domains') -%}
    {%- if domains == 'all' -%}
        {%- set pattern = '^([^+@]+)[+][^@]*@' -%}
    {%- elif domains is string -%}
        {{ exceptions.raise_compiler_error(
            "email_tag_domains: expected all or a list of domains such as [example.com], found " ~ domains
        ) }}
    {%- else -%}
        {%- set pattern = '^([^+@]+)[+][^@]*@(' ~ domains | join('|') | lower | replace('.', '[.]') ~ ')$' -%}
    {%- endif -%}
    {%- if domains -%}
        {%- set tag_less = '\\1@' if domains == 'all' else '\\1@\\2' -%}
        case
            when {{ is_plain_email(expression) }} then {{ expression }}
            else {{ every_match_replaced(address, pattern, tag_less) }}
        end
    {%- else -%}
        {{ address }}
    {%- endif -%}
{%- endmacro %}
