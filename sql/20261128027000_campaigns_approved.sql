-- What the daemon tells of the Cloud API's templates: the list that it reads, and what a webhook
-- says of one. A run whose template WhatsApp does not send any more is held, and says so.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Pauses the campaigns that are being sent by a template that cannot be sent. Returns how many.
create or replace function private.hold_unapproved()
returns integer
language plpgsql
set search_path = ''
as $$
declare
    v_stopped record;
    v_held integer := 0;
begin
    for v_stopped in
        select
            campaign.id,
            told.why
        from public.campaign_runs as run
        join public.campaigns as campaign on campaign.id = run.campaign_id
        cross join lateral private.campaign_content(campaign, run.template_version) as content
        cross join lateral (
            select private.why_not_approved(content.cloud, campaign.connection_id) as why
        ) as told
        where run.finished_at is null
            and campaign.status = 'scheduled'
            and content.cloud is not null
            and told.why is not null
        order by campaign.id
    loop
        update public.campaigns as campaign
        set
            status = 'paused',
            status_reason = left(v_stopped.why || ' Resume it when it is approved again.', 500)
        where campaign.id = v_stopped.id and campaign.status = 'scheduled';
        v_held := v_held + found::integer;
    end loop;
    return v_held;
end
$$;
revoke all on function private.hold_unapproved from public;
grant execute on function private.hold_unapproved to service_role;

-- All templates of a business account, as the daemon has read them: a JSON array of rows of
-- private.approved_templates. p_is_default: see private.template_accounts. Returns how many
-- campaigns were held by it.
create or replace function public.record_approved_templates(
    p_account_id text, p_is_default boolean, p_rows text
)
returns table (held integer)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
begin
    insert into private.template_accounts as account (account_id, is_default, read_at)
    values (p_account_id, coalesce(p_is_default, false), now())
    on conflict (account_id) do update
    set is_default = excluded.is_default, read_at = excluded.read_at;
    delete from private.approved_templates as known where known.account_id = p_account_id;
    insert into private.approved_templates (
        account_id, name, language, status, reason, format, places, header, header_places
    )
    select
        p_account_id,
        given.name,
        replace(given.language, '-', '_'),
        given.status,
        given.reason,
        given.format,
        given.places,
        given.header,
        given.header_places
    from json_populate_recordset(null::private.approved_templates, p_rows::json) as given
    on conflict do nothing;
    held := private.hold_unapproved();
    return next;
end
$$;

-- What a webhook (message_template_status_update) says has become of templates: a JSON array of
-- {account_id, name, language, status, reason}. Of one that was not known nothing else is known
-- then.
create or replace function public.record_template_statuses(p_is_default boolean, p_rows text)
returns table (held integer)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
begin
    insert into private.template_accounts as account (account_id, is_default)
    select distinct
        given.account_id,
        coalesce(p_is_default, false)
    from json_populate_recordset(null::private.approved_templates, p_rows::json) as given
    on conflict (account_id) do nothing;
    insert into private.approved_templates as known (account_id, name, language, status, reason)
    select distinct on (given.account_id, given.name, replace(given.language, '-', '_'))
        given.account_id,
        given.name,
        replace(given.language, '-', '_'),
        given.status,
        given.reason
    from json_populate_recordset(null::private.approved_templates, p_rows::json)
        with ordinality as given (
            account_id, name, language, status, reason, format, places, header, header_places,
            place
        )
    order by given.account_id, given.name, replace(given.language, '-', '_'), given.place desc
    on conflict (account_id, name, language) do update
    set status = excluded.status, reason = excluded.reason;
    held := private.hold_unapproved();
    return next;
end
$$;
revoke all on function public.record_approved_templates, public.record_template_statuses
from public, anon, authenticated;
grant execute on function public.record_approved_templates, public.record_template_statuses
to service_role;
