-- Whoever loses the right to send loses the campaigns that are not over, as the core has it for
-- messages (cancel_messages): whoever gives a connection away, and who is deleted or suspended; and
-- what is being sent through a connection that is deleted or renamed. Without this the daemon would
-- go on making messages, which no event cancels any more. Of appointments follow_connection knows.
-- Locks: `create trigger` on connections and auth.users takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- p_connection_id null: all of the owner's, whoever wrote them. p_owner_id null: all of the
-- connection's that are being sent; what has not begun fails when it would, and says why. In the
-- order of ids, so that two of these never wait for each other.
create or replace function private.cancel_campaigns(
    p_connection_id text, p_owner_id text, p_why text
)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_owner constant uuid := case when p_owner_id ~ '^[0-9a-fA-F-]{36}$' then p_owner_id::uuid end;
begin
    update public.campaigns as campaign
    set
        status = 'cancelled',
        status_reason = p_why,
        updated_at = now()
    from (
        select lost.id
        from public.campaigns as lost
        where (p_owner_id is null or lost.owner_id = v_owner)
            and (p_connection_id is null or lost.connection_id = p_connection_id)
            and lost.status in ('scheduled', 'paused')
            and (p_owner_id is not null or exists (
                select from public.campaign_runs as run
                where run.campaign_id = lost.id and run.finished_at is null
            ))
        order by lost.id
        for no key update
    ) as held
    where campaign.id = held.id;
end
$$;
revoke all on function private.cancel_campaigns from public;

create or replace function private.cancel_campaigns_of_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_owner constant text := private.owner_of(old);
begin
    -- The first of all that follows: what is being written for the connection is waited for.
    perform private.take_right('connection ' || old.id::text);
    if tg_op = 'DELETE' then
        perform private.cancel_campaigns(
            old.id::text, null, 'The WhatsApp connection of this campaign was deleted.'
        );
    elsif new.id <> old.id then
        perform private.cancel_campaigns(
            old.id::text, null, 'The WhatsApp connection of this campaign has another id now.'
        );
    elsif v_owner <> coalesce(private.owner_of(new), '') then
        perform private.cancel_campaigns(
            old.id::text, v_owner,
            'The WhatsApp connection of this campaign belongs to somebody else now.'
        );
    end if;
    return null;
end
$$;

-- All that is this user's, whoever of their members wrote it, and whom they have invited. Of a user
-- who is deleted the foreign keys keep new messages away; the right is not to be waited for there.
create or replace function private.end_rights_of_user()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_reminders uuid[];
begin
    if tg_op = 'UPDATE' then
        perform private.take_right(old.id::text);
    end if;
    perform private.cancel_campaigns(
        null, old.id::text, format('The account that this campaign belongs to %s.', case tg_op
            when 'DELETE' then 'was deleted' else 'is suspended'
        end)
    );
    delete from public.connection_invitations as invitation
    where old.id in (invitation.created_by, invitation.owner_id);
    v_reminders := array(
        select distinct message.source_id
        from public.scheduled_messages as message
        where message.owner_id = old.id
            and message.source_id is not null
            and message.status in ('pending', 'processing')
    );
    if tg_op = 'DELETE' then
        perform private.end_reminders(
            v_reminders, null, 'The account that this appointment belongs to was deleted.'
        );
        return old;
    end if;
    perform private.try_reminders(v_reminders, false);
    return null;
end
$$;
revoke all on function private.cancel_campaigns_of_connection, private.end_rights_of_user
from public;

-- All of them before what the same event does to messages, by the name: whoever pauses a campaign
-- takes it before its messages, too.
create or replace trigger a_end_rights_of_user before delete on auth.users
for each row execute function private.end_rights_of_user();
create or replace trigger a_end_rights_of_suspended_user after update on auth.users
for each row when (
    (to_jsonb(new) ->> 'deleted_at' is not null and to_jsonb(old) ->> 'deleted_at' is null)
    or (
        (to_jsonb(new) ->> 'banned_until')::timestamptz > now()
        and coalesce((to_jsonb(old) ->> 'banned_until')::timestamptz <= now(), true)
    )
)
execute function private.end_rights_of_user();

do $$
declare
    v_changed constant text := (
        select string_agg(format('old.%1$I is distinct from new.%1$I', a.attname), ' or ')
        from pg_attribute as a
        join pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'p')
        where a.attrelid = 'public.connections'::regclass
            and a.attname in ('id', 'user_id', 'owner_id')
            and not a.attisdropped
    );
begin
    if v_changed is null then
        return; -- a view
    end if;
    create or replace trigger a_cancel_campaigns_of_connection after delete on public.connections
    for each row execute function private.cancel_campaigns_of_connection();
    execute format(
        'create or replace trigger a_cancel_campaigns_of_lost_connection '
        'after update on public.connections '
        'for each row when (%s) execute function private.cancel_campaigns_of_connection()',
        v_changed
    );
end
$$;
