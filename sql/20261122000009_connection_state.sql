-- What the limiter and the claim remember of a connection; the daemon's alone.
create table if not exists private.connection_state (
    connection_id text primary key,
    -- The earliest instant at which a claim may find something to do here; 'infinity' when nothing waits.
    ready_at timestamptz not null default 'infinity'
);
create index if not exists connection_state_ready_idx on private.connection_state (ready_at, connection_id);
alter table private.connection_state set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
alter table private.connection_state enable row level security;
grant select, insert, update, delete on private.connection_state to service_role;

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
