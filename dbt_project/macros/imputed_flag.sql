{# Whether a column of `with_replacements` was filled in: unknown itself, with a replacement that is known. #}
{% macro imputed_flag(people, column) -%}
    ({{ people }}.{{ column }} is null and {{ people }}.replacement_{{ column }} is not null)
{%- endmacro %}
