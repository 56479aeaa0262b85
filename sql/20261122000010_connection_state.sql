-- What the limiter and the claim remember of a connection; the daemon's alone.
-- Locks: none on tables that were there before.
create table if not exists private.connection_state (
    connection_id text primary key,
    -- The earliest instant at which a claim may find something to do here; 'infinity' when nothing waits.
    ready_at timestamptz not null default 'infinity',
    -- GCRA's theoretical arrival time: when the next message would be due if all came evenly spaced.
    arrival_at timestamptz not null default '-infinity',
    -- What was claimed on this day, in the connection's time zone.
    day date,
    sent_today integer not null default 0,
    -- Why nothing may go out at present, and until when; told to the rows that wait.
    blocked_reason text,
    blocked_until timestamptz,
    -- Stopped by the gateway: paused until a probe succeeds, the next of which is at probe_at.
    paused_reason text,
    probe_at timestamptz,
    failed_probes integer not null default 0,
    -- Seconds between messages since the gateway said "too fast"; shrinks again with every claim.
    throttle_seconds double precision not null default 0
);
create index if not exists connection_state_probe_idx on private.connection_state (probe_at) where probe_at is not null;
create index if not exists connection_state_ready_idx on private.connection_state (ready_at, connection_id);
alter table private.connection_state set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
alter table private.connection_state enable row level security;
grant select, insert, update, delete on private.connection_state to service_role;

-- Until when a recipient is to be left alone on a connection.
create table if not exists private.recipient_state (
    connection_id text,
    recipient text,
    free_at timestamptz not null,
    primary key (connection_id, recipient)
);
create index if not exists recipient_state_free_at_idx on private.recipient_state (free_at);
alter table private.recipient_state enable row level security;
grant select, insert, update, delete on private.recipient_state to service_role;

-- Says that these connections have work at these instants. Every writer of a waiting job calls it last, so that the
-- lock on a busy connection's row is held for a moment only.
create or replace function private.announce_work(p_connections text[], p_at timestamptz[])
returns void
language sql
set search_path = ''
as $$
    insert into private.connection_state as c (connection_id, ready_at)
    select given.connection_id, min(given.at)
    from unnest(p_connections, p_at) as given (connection_id, at)
    group by given.connection_id
    order by given.connection_id
    on conflict (connection_id) do update set ready_at = excluded.ready_at
    where c.ready_at > excluded.ready_at
$$;
revoke all on function private.announce_work(text[], timestamptz[]) from public;
grant execute on function private.announce_work(text[], timestamptz[]) to service_role;

-- A change of the settings is looked at at once.
create or replace function private.announce_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_id text := new.connection_id;
begin
    update private.connection_state as c
    set ready_at = now()
    where c.connection_id = v_id and c.paused_reason is null and exists (
        select 1 from public.broadcast_jobs as j
        where j.connection_id = v_id and j.status = 'queued' and j.scheduled_message_id is not null
    );
    return null;
end
$$;
revoke all on function private.announce_connection() from public;

create or replace trigger announce_connection after insert or update on public.connection_settings
for each row execute function private.announce_connection();
