-- A campaign's message to oneself, before it goes to many.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Ends a statement with words for a person; for functions that users call, whose bodies are SQL.
create or replace function private.refuse(p_code text, p_words text)
returns boolean
language plpgsql
volatile
set search_path = ''
as $$
begin
    raise exception using errcode = p_code, message = p_words;
end
$$;
revoke all on function private.refuse from public;
grant execute on function private.refuse to authenticated, service_role;

-- Writes one plain message of the caller's, due now, and returns its id. The text is the first
-- recipient's where the campaign was rehearsed; a place that nothing fills stands there by its
-- name. The address is a number with its country code or a WhatsApp id: a bare number might be the
-- id of somebody's contact.
-- noqa: disable=AL03,AM05,RF01,RF03,ST05,ST09,LT02
create or replace function public.send_test(campaign_id uuid, address text)
returns uuid
language sql
volatile
set search_path = ''
begin atomic
    select case
        when not exists (
            select
            from public.campaigns as campaign
            where campaign.id = send_test.campaign_id
        )
            then private.refuse('42501', 'There is no such campaign of yours.')
        when coalesce(send_test.address, '') !~ '^\s*\+\s*[0-9]|^\s*[^\s@]+@[^\s@]+\s*$'
            then private.refuse(
                'PT400', 'Write the number with its country code, such as +91 98765 43210.'
            )
    end;

    insert into public.scheduled_messages (
        connection_id, contact_id, template_id, variables, message, type, media_url, caption, media,
        scheduled_at, timezone
    )
    select
        campaign.connection_id,
        btrim(send_test.address),
        campaign.template_id,
        case when template.id is not null then given.variables end,
        case when template.id is null and campaign.type = 'text' then rendered.text else '' end,
        campaign.type,
        campaign.media_url,
        case when template.id is null and campaign.type <> 'text'
            then nullif(rendered.text, '') end,
        campaign.media,
        now(),
        campaign.timezone
    from public.campaigns as campaign
    left join public.message_templates as template on template.id = campaign.template_id
    left join lateral (
        select line.variables
        from public.campaign_rehearsals as rehearsal
        join public.campaign_rehearsal_lines as line on line.lines_id = rehearsal.lines_id
        where rehearsal.campaign_id = campaign.id and line.fault is null
        order by line.position
        limit 1
    ) as first_line on true
    cross join lateral (
        select
            coalesce(template.parts, private.cut(
                case when campaign.type = 'text'
                    then campaign.message else coalesce(campaign.caption, '') end
            )) as parts,
            private.values_of(template.defaults)
            || private.values_of(campaign.variables)
            || coalesce(first_line.variables, '{}') as known
    ) as content
    -- Also what an approved template of the Cloud API asks for.
    cross join lateral (
        select coalesce(
            jsonb_object_agg(
                place.name, coalesce(content.known ->> place.name, '{' || place.name || '}')
            ), '{}'
        ) as variables
        from (
            select unnest(private.names_in(content.parts)) as name
            union
            select unnest(private.names_of_approved(template.cloud))
        ) as place
    ) as given
    cross join lateral (
        select private.render(content.parts, given.variables) as text
    ) as rendered
    where campaign.id = send_test.campaign_id
    returning id;
end;
-- noqa: enable=AL03,AM05,RF01,RF03,ST05,ST09,LT02
revoke all on function public.send_test from public, anon;
grant execute on function public.send_test to authenticated, service_role;
