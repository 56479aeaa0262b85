-- Which labels there are, for whoever chooses an audience by them.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Of the contacts that the caller may see, how many carry each label. A label that is blank is
-- none; where contacts have no labels there are none.
create or replace function public.contact_labels()
returns table (label text, contacts integer)
language sql
stable
set search_path = ''
as $$
    select
        labelled.label,
        count(*)::integer
    from (values (null::text)) as missing (labels)
    cross join lateral (
        -- The column `labels` of contacts, else the one above.
        select to_jsonb(labels) as labels
        from public.contacts
    ) as contact
    cross join lateral jsonb_array_elements_text(
        case jsonb_typeof(contact.labels) when 'array' then contact.labels else '[]' end
    ) as labelled (label)
    where labelled.label ~ '\S'
    group by labelled.label
    order by labelled.label
    limit 1000
$$;
revoke all on function public.contact_labels from public, anon;
grant execute on function public.contact_labels to authenticated, service_role;
comment on function public.contact_labels() is
'The labels of the caller''s contacts, and how many contacts carry each.';
