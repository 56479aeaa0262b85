-- The table that front ends write. One row is one occurrence of one message.
-- Locks: `add column` with a constant default or none, `set default` and `drop constraint` take
-- `access exclusive` (the last on the table referred to, too) for an instant, rewrite nothing and
-- read no row. `lock_timeout`: while a statement waits for its lock, writers queue behind it;
-- better to give up and be run again.
set local lock_timeout = '1s';

create table if not exists public.scheduled_messages (
    id uuid primary key default gen_random_uuid(),
    connection_id text not null,
    contact_id text not null,
    message text not null,
    type text not null default 'text',
    media_url text,
    caption text,
    scheduled_at timestamptz not null,
    status text not null default 'pending',
    created_at timestamptz not null default now(),
    created_by uuid references auth.users (id) on delete set null,
    sent_at timestamptz,
    message_id text,
    error text,
    is_recurring boolean default false,
    recurrence_pattern text,
    next_scheduled_at timestamptz,
    media json
);

-- A table that is there already may be older than the document, or come from the upstream
-- application. first_look has seen to the types of its columns.
alter table public.scheduled_messages
add column if not exists media_url text,
add column if not exists caption text,
add column if not exists created_by uuid,
add column if not exists sent_at timestamptz,
add column if not exists message_id text,
add column if not exists error text,
add column if not exists is_recurring boolean default false,
add column if not exists recurrence_pattern text,
add column if not exists next_scheduled_at timestamptz,
add column if not exists media json,
add column if not exists owner_id uuid,
add column if not exists asset_id uuid,
-- The author's, like the columns above.
add column if not exists timezone text,
add column if not exists recurrence_end_at timestamptz,
-- The daemon's. A series has an id that nobody can choose; `series_anchor` is the wall time that
-- the series repeats.
add column if not exists series_id uuid,
add column if not exists series_anchor timestamp,
add column if not exists occurrence_at timestamptz,
add column if not exists missed integer not null default 0,
add column if not exists next_id uuid,
add column if not exists broadcast_job_id uuid,
-- `scheduled_at` of a pending row, else null: the index of what is due is on it and not on
-- `status`, so that what becomes of a message later touches no index (docs/adr/0010).
add column if not exists due_at timestamptz,
-- Why a message that is due still waits, and until when; null when it does not.
add column if not exists waiting_reason text,
add column if not exists waiting_until timestamptz,
-- What WhatsApp told after it took the message: sent, delivered, read, failed.
add column if not exists delivery_status text,
-- Raised by every change that a user makes: the daemon enqueues the revision that it read, or
-- nothing.
add column if not exists revision integer not null default 0,
add column if not exists updated_at timestamptz not null default now();

-- What one message must honour whoever wrote it, and what it was written for, which the core never
-- asks.
alter table public.scheduled_messages
-- 'marketing', 'utility', or null: written by hand. For what is not there yet, which STOP ends and
-- limits to a person count.
add column if not exists category text,
-- What is written to many (1) waits on its connection for what is written to one (0).
add column if not exists priority smallint not null default 0,
-- An approved template, as the Cloud API takes it: the gateway `cloud` sends it in place of the
-- text.
add column if not exists template jsonb,
-- Why a pending row does not go out for now: it is not due, and shows this as its waiting_reason.
add column if not exists held text,
-- After it the message would come too late, and fails.
add column if not exists not_after timestamptz,
-- The row of another table that it was made for, which of that row's messages it is, and which try.
add column if not exists source_id uuid,
add column if not exists source_position integer,
add column if not exists source_try integer;

-- A table that was a view, or came from elsewhere, may have lost these.
do $$
declare
    v_lost record;
begin
    for v_lost in
        select
            ours.name,
            ours.expression
        from (
            values
            ('id', 'gen_random_uuid()'),
            ('type', '''text'''),
            ('status', '''pending'''),
            ('created_at', 'now()'),
            ('is_recurring', 'false')
        ) as ours (name, expression)
        join pg_attribute as a
            on a.attrelid = 'public.scheduled_messages'::regclass and a.attname = ours.name
        where not a.atthasdef and a.attidentity = ''
    loop
        execute format(
            'alter table public.scheduled_messages alter column %I set default %s',
            v_lost.name, v_lost.expression
        );
    end loop;
end
$$;

alter table public.scheduled_messages
alter column created_by set default auth.uid(),
alter column owner_id set default auth.uid(),
alter column updated_at set default now();

-- A connection or a user that is deleted takes no history with it and is not held back:
-- private.cancel_messages cancels what still waits (docs/adr/0005). So foreign keys that delete
-- rows or refuse go, on a database that has them.
do $$
declare
    v_name text;
begin
    for v_name in
        select k.conname
        from pg_constraint as k
        where k.conrelid = 'public.scheduled_messages'::regclass
            and k.contype = 'f'
            and (
                k.confrelid = 'public.connections'::regclass
                or (k.confrelid = 'auth.users'::regclass and k.confdeltype <> 'n')
            )
    loop
        execute format('alter table public.scheduled_messages drop constraint %I', v_name);
    end loop;
end
$$;

-- Most updates of a row change no indexed column; room on the page keeps them there.
alter table public.scheduled_messages set (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

create or replace function private.set_due_at()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
    new.due_at := case when new.status = 'pending' and new.held is null then new.scheduled_at end;
    return new;
end
$$;
revoke all on function private.set_due_at from public;

-- The last one, by its name: it sees what others have made of the row.
create or replace trigger zz_set_due_at before insert or update on public.scheduled_messages
for each row when (
    new.due_at is distinct from case
        when new.status = 'pending' and new.held is null then new.scheduled_at
    end
)
execute function private.set_due_at();

-- Also for rows that a restore or a subscription writes with triggers off.
alter table public.scheduled_messages enable always trigger zz_set_due_at;
