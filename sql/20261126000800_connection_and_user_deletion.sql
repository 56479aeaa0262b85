-- What a deleted connection or user leaves behind is kept as history and never sent (docs/adr/0004, 0005). What is being
-- sent at that moment is cancelled too; should it turn out to have gone out, it becomes `sent` all the same.
-- Locks: `create trigger` on connections and auth.users takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.cancel_messages_of_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    -- First, like a claim: else the two could wait for each other. What is not there is neither claimed from nor probed.
    delete from private.connection_state as c where c.connection_id = old.id;
    delete from private.recipient_state as r where r.connection_id = old.id;
    update public.scheduled_messages as s
    set status = 'cancelled', error = 'The WhatsApp connection of this message was deleted.'
    where s.connection_id = old.id and s.status in ('pending', 'processing', 'in_queue');
    return null;
end
$$;
revoke all on function private.cancel_messages_of_connection() from public;

create or replace trigger cancel_messages_of_connection after delete on public.connections
for each row execute function private.cancel_messages_of_connection();

-- A row that had a user and loses the last one is an orphan. A row of the service key never had one, no deletion touches
-- it, and it is sent. Before the delete, because afterwards `on delete set null` has wiped out whose the row was.
create or replace function private.cancel_messages_of_user()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.scheduled_messages as s
    set status = 'cancelled', error = 'The account that scheduled this message was deleted.'
    where (s.created_by = old.id or s.owner_id = old.id)
        and s.status in ('pending', 'processing', 'in_queue')
        and not exists (select 1 from auth.users as u where u.id in (s.created_by, s.owner_id) and u.id <> old.id);
    return old;
end
$$;
revoke all on function private.cancel_messages_of_user() from public;

create or replace trigger cancel_messages_of_user before delete on auth.users
for each row execute function private.cancel_messages_of_user();
