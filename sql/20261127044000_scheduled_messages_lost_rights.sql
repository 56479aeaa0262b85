-- Whoever loses the right to send loses what waits: a connection that is deleted, renamed or given
-- to somebody else, a user who is deleted or suspended. The rows stay, as history (docs/adr/0004,
-- 0005, 0012). What is being sent at that moment is cancelled too; should it turn out to have gone
-- out, it becomes `sent` all the same. A lost right is known by the event that takes it; nothing is
-- compared when a message is sent.
-- Locks: `create trigger` on connections and auth.users takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- Pass after pass, until one finds nothing: an occurrence that is being enqueued is waited for, and
-- the next pass sees the one that came of it. In the order of ids, so that two of these never wait
-- for each other; and rows before their jobs. p_connection_id null: all of the user's. p_user_id
-- null: all of the connection's. A row that has another user too stays theirs; in the first case
-- only if that one may still sign in.
create or replace function private.cancel_messages(
    p_connection_id text, p_user_id text, p_reason text
)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_user constant uuid := case when p_user_id ~ '^[0-9a-fA-F-]{36}$' then p_user_id::uuid end;
begin
    loop
        if p_user_id is null then
            update public.scheduled_messages as s
            set status = 'cancelled',
                error = p_reason
            from (
                select w.id
                from public.scheduled_messages as w
                where w.connection_id = p_connection_id
                    and w.status in ('pending', 'processing', 'in_queue')
                order by w.id
                for update
            ) as held
            where s.id = held.id;
        elsif p_connection_id is not null then
            update public.scheduled_messages as s
            set status = 'cancelled',
                error = p_reason
            from (
                select w.id
                from public.scheduled_messages as w
                where w.connection_id = p_connection_id
                    and w.status in ('pending', 'processing', 'in_queue')
                    and v_user in (w.created_by, w.owner_id)
                    and coalesce(w.created_by, v_user) = v_user
                    and coalesce(w.owner_id, v_user) = v_user
                order by w.id
                for update
            ) as held
            where s.id = held.id;
        else
            update public.scheduled_messages as s
            set status = 'cancelled',
                error = p_reason
            from (
                select w.id
                from public.scheduled_messages as w
                where (w.created_by = v_user or w.owner_id = v_user)
                    and w.status in ('pending', 'processing', 'in_queue')
                    and not exists (
                        select 1 from auth.users as u
                        where u.id in (w.created_by, w.owner_id)
                            and u.id <> v_user
                            and not private.is_suspended(to_jsonb(u))
                    )
                order by w.id
                for update
            ) as held
            where s.id = held.id;
        end if;
        exit when not found;
    end loop;
end
$$;

-- Whether a user of auth.users may not sign in; as json, because not every auth server has the
-- columns.
create or replace function private.is_suspended(p_user jsonb)
returns boolean
language sql
stable
set search_path = ''
as $$
    select p_user ->> 'deleted_at' is not null
        or coalesce((p_user ->> 'banned_until')::timestamptz > now(), false)
$$;

-- Waits for what this user is writing at this moment, and keeps the user from writing more until
-- the right is gone.
create or replace function private.take_right(p_user_id text)
returns void
language sql
set search_path = ''
as $$
    select pg_advisory_xact_lock(hashtextextended('the rights of ' || p_user_id, 0))
$$;

-- It asks without waiting, since it holds the row that the other one wants.
create or replace function private.hold_right_of(p_user_id text)
returns void
language plpgsql
set search_path = ''
as $$
begin
    if not pg_try_advisory_xact_lock_shared(
        hashtextextended('the rights of ' || p_user_id, 0)
    ) then
        raise exception 'What you may do is being changed at this moment. Try again.'
            using errcode = 'PT409';
    end if;
end
$$;

-- Before a user's message becomes pending. A token lives on for up to an hour after its user was
-- suspended.
create or replace function private.hold_right()
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform private.hold_right_of(auth.uid()::text);
    if exists (
        select 1 from auth.users as u
        where u.id = auth.uid() and private.is_suspended(to_jsonb(u))
    ) then
        raise exception 'This account is suspended and sends no messages.'
            using errcode = '42501';
    end if;
end
$$;
revoke all on function private.cancel_messages, private.is_suspended, private.take_right,
private.hold_right_of, private.hold_right from public;

-- After it: the policies saw the connection as it was when the statement began. As the user, whose
-- policies decide.
create or replace function private.confirm_connection()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    if not exists (
        select 1 from public.connections as c where c.id::text = new.connection_id
    ) then
        raise exception 'You may not use this connection any more.' using errcode = '42501';
    end if;
    return null;
end
$$;
revoke all on function private.confirm_connection from public;

create or replace function private.cancel_messages_of_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_owner constant text := private.owner_of(old);
begin
    if tg_op = 'DELETE' then
        perform private.cancel_messages(
            old.id::text, null, 'The WhatsApp connection of this message was deleted.'
        );
    elsif new.id <> old.id then
        perform private.cancel_messages(
            old.id::text, null,
            'The WhatsApp connection of this message has another id now: choose it again.'
        );
    elsif v_owner <> coalesce(private.owner_of(new), '') then
        perform private.take_right(v_owner);
        perform private.cancel_messages(
            old.id::text, v_owner,
            'The WhatsApp connection of this message belongs to somebody else now: '
            'choose another one.'
        );
    end if;
    return null;
end
$$;
revoke all on function private.cancel_messages_of_connection from public;

-- A row that had a user and loses the last one is an orphan. A row of the service key never had
-- one, no deletion touches it, and it is sent. Before the delete, because afterwards `on delete set
-- null` has wiped out whose the row was; the foreign key keeps new rows away meanwhile.
create or replace function private.cancel_messages_of_user()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op = 'DELETE' then
        perform private.cancel_messages(
            null, old.id::text, 'The account that scheduled this message was deleted.'
        );
        return old;
    end if;
    perform private.take_right(new.id::text);
    perform private.cancel_messages(
        null, new.id::text, 'The account that scheduled this message is suspended.'
    );
    return null;
end
$$;
revoke all on function private.cancel_messages_of_user from public;

create or replace trigger cancel_messages_of_user before delete on auth.users
for each row execute function private.cancel_messages_of_user();

-- As json, because not every auth server has the columns. Only what loses the right: a ban that is
-- prolonged cancels nothing more.
create or replace trigger cancel_messages_of_suspended_user after update on auth.users
for each row when (
    (to_jsonb(new) ->> 'deleted_at' is not null and to_jsonb(old) ->> 'deleted_at' is null)
    or (
        (to_jsonb(new) ->> 'banned_until')::timestamptz > now()
        and coalesce((to_jsonb(old) ->> 'banned_until')::timestamptz <= now(), true)
    )
)
execute function private.cancel_messages_of_user();

-- Of a view the project tells us nothing. Of a table, updates that change neither id nor owner cost
-- nothing.
do $$
declare
    v_owner_changed constant text := (
        select string_agg(format('or old.%1$I is distinct from new.%1$I', a.attname), ' ')
        from pg_attribute as a
        where a.attrelid = 'public.connections'::regclass
            and a.attname in ('user_id', 'owner_id')
            and not a.attisdropped
    );
begin
    if (
        select c.relkind not in ('r', 'p')
        from pg_class as c
        where c.oid = 'public.connections'::regclass
    ) then
        return;
    end if;

    create or replace trigger cancel_messages_of_connection after delete on public.connections
    for each row execute function private.cancel_messages_of_connection();

    execute format(
        'create or replace trigger cancel_messages_of_lost_connection '
        'after update on public.connections '
        'for each row when (old.id is distinct from new.id %s) '
        'execute function private.cancel_messages_of_connection()',
        v_owner_changed
    );
end
$$;

-- Last, since whoever deletes a user or a connection comes to the messages last.
create or replace trigger confirm_connection after insert or update on public.scheduled_messages
for each row when (
    new.status = 'pending'
    and row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.confirm_connection();
