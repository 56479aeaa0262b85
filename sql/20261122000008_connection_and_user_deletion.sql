-- What a deleted connection or user leaves behind is kept as history and never sent.
-- Locks: `create trigger` on connections takes `share row exclusive` for an instant.
create or replace function private.cancel_orphan()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    new.status := 'cancelled';
    new.error := 'The account that scheduled this message was deleted.';
    return new;
end
$$;
revoke all on function private.cancel_orphan() from public;

-- Fired by `on delete set null`: a row that had an author and loses the last one. A row written with the service key
-- never had one, is not touched by a deletion, and is sent. (docs/adr/0005)
create or replace trigger cancel_orphan before update on public.scheduled_messages
for each row when (
    old.created_by is not null and new.created_by is null and (new.owner_id is null or new.owner_id = old.created_by)
    and old.status in ('pending', 'processing', 'in_queue')
) execute function private.cancel_orphan();

create or replace function private.cancel_messages_of_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.scheduled_messages as s
    set status = 'cancelled', error = 'The WhatsApp connection of this message was deleted.'
    where s.connection_id = old.id and s.status in ('pending', 'processing', 'in_queue');
    return null;
end
$$;
revoke all on function private.cancel_messages_of_connection() from public;

create or replace trigger cancel_messages_of_connection after delete on public.connections
for each row execute function private.cancel_messages_of_connection();

-- The upstream dialog wrote only owner_id; with the author known too, a deleted user's messages are recognised.
update public.scheduled_messages as s
set created_by = s.owner_id
from auth.users as u
where s.created_by is null and s.owner_id = u.id and s.status = 'pending';
