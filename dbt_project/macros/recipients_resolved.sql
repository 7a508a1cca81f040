{#
    The rows of a relation with the person that each message went to: by the account that it states, else by the
    person id, where it is one still, else by the address. identifiers and emails name int_identifiers_resolved and
    int_emails_resolved. An address is looked up only where nothing else told the person.
#}
{% macro recipients_resolved(relation, identifiers, emails) -%}
    {%- set query -%}
        select
            recipients.*,
            coalesce(recipients.account_customer_id, mailboxes.customer_id) as customer_id
        from (
            select
                messages.*,
                coalesce(accounts.customer_id, people.customer_id) as account_customer_id,
                case
                    when coalesce(accounts.customer_id, people.customer_id) is null
                        then messages.normalised_email
                end as unknown_email
            from {{ relation }} as messages
            left join {{ identifiers }} as accounts
                on messages.source_customer_key = accounts.source_customer_key
            left join (select distinct customer_id from {{ identifiers }}) as people
                on messages.stated_customer_id = people.customer_id
        ) as recipients
        left join {{ emails }} as mailboxes on recipients.unknown_email = mailboxes.normalised_email
    {%- endset -%}
    {{ subquery(query) }}
{%- endmacro %}
