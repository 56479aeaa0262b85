-- The limiter: what it remembers of a connection, and what it makes of that and of the settings.
-- The daemon's alone. Locks: `create trigger` on connections takes `share row exclusive` for an
-- instant.
set local lock_timeout = '1s';

create table if not exists private.connection_state (
    connection_id text primary key,
    -- The earliest instant at which a claim may find something to do here; 'infinity' when nothing
    -- waits.
    ready_at timestamptz not null default 'infinity',
    -- GCRA's theoretical arrival time: when the next message would be due if all came evenly
    -- spaced.
    arrival_at timestamptz not null default '-infinity',
    -- What was claimed on this day, in the connection's time zone, and was not handed back.
    day date,
    sent_today integer not null default 0,
    -- What the waiting rows are told: why, and until when; and up to which job they were told
    -- (null: there is nothing to tell).
    waiting_reason text,
    waiting_until timestamptz,
    told_at timestamptz,
    told_id uuid not null default '00000000-0000-0000-0000-000000000000',
    -- Stopped by the gateway: paused until a probe succeeds, the next of which is at probe_at;
    -- `failed_probes` spaces them out.
    paused_reason text,
    probe_at timestamptz,
    failed_probes integer not null default 0,
    -- The jobs that stopped it since its last probe, which judges them (finish_probes).
    stopped_ids uuid[] not null default '{}',
    -- The rows that stopped it one after the other although its probe found it well, none of
    -- another between them. From the second on the probe is not believed: it stays paused, and one
    -- message is tried after each probe (`is_on_trial`).
    refused_ids uuid[] not null default '{}',
    is_on_trial boolean not null default false,
    -- When messages were last let through to the gateway again, until one got through; and when the
    -- first of them did.
    resumed_at timestamptz,
    through_at timestamptz,
    -- Seconds between messages since the gateway said "too fast" (private.slowdown), and from when
    -- on that wears off.
    throttle_seconds double precision not null default 0,
    throttled_until timestamptz,
    -- Until when some recipient here is to be left alone, whatever the settings say.
    recipients_until timestamptz
);
-- Who pays for its turns: the owner of what waits here, or the connection itself where nobody owns
-- it; and its last turn.
alter table private.connection_state
add column if not exists payer text not null default '',
add column if not exists turn_at timestamptz not null default '-infinity';
-- `told_at` and `told_id` are of what is written to one; of what is written to many these. Until
-- when the last of each was told that it waits.
alter table private.connection_state
add column if not exists told_until timestamptz,
add column if not exists many_told_at timestamptz,
add column if not exists many_told_id uuid not null default '00000000-0000-0000-0000-000000000000',
add column if not exists many_told_until timestamptz;
create index if not exists connection_state_payer_ready_idx
on private.connection_state (payer, ready_at, connection_id) where ready_at < 'infinity';
create index if not exists connection_state_payer_turn_idx
on private.connection_state (payer, turn_at);
create index if not exists connection_state_probe_idx
on private.connection_state (probe_at) where probe_at is not null;
create index if not exists connection_state_ready_idx
on private.connection_state (ready_at, connection_id);
alter table private.connection_state set (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500
);
alter table private.connection_state enable row level security;
grant select, insert, update, delete on private.connection_state to service_role;

-- Until when a recipient is to be left alone on a connection: because of a job that was claimed, or
-- for a reason.
create table if not exists private.recipient_state (
    connection_id text,
    recipient text,
    free_at timestamptz not null,
    job_id uuid,
    reason text,
    primary key (connection_id, recipient)
);
create index if not exists recipient_state_free_at_idx on private.recipient_state (free_at);
alter table private.recipient_state enable row level security;
grant select, insert, update, delete on private.recipient_state to service_role;

-- Says that these connections have work at these instants. Every writer of a waiting job calls it
-- last, so that the lock on a busy connection's row is held for a moment only. A row that somebody
-- holds for longer than lock_timeout, such as one whose settings are being changed by a transaction
-- that does not end, is told later (private.retry_refused): nobody else's work waits for that.
create or replace function private.announce_work(p_connections text[], p_at timestamptz[])
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform private.announce_now(p_connections, p_at);
exception when lock_not_available then
    with free as materialized (
        select state.connection_id from private.connection_state as state
        where state.connection_id = any(p_connections)
        order by state.connection_id
        for no key update skip locked
    ),
    held as (
        select given.connection_id
        from unnest(p_connections) as given (connection_id)
        where given.connection_id not in (select free.connection_id from free)
            and exists (
                select 1 from private.connection_state as state
                where state.connection_id = given.connection_id
            )
        group by given.connection_id
    ),
    told_later as (
        insert into private.refused_rows as aside (
            step, id, code, reason, again_at, connection_id
        )
        select
            'announce' as step,
            md5(held.connection_id)::uuid as id,
            '55P03' as code,
            'a transaction that is still open holds this connection' as reason,
            now() + interval '1 second' as again_at,
            held.connection_id
        from held
        on conflict (id, step) do update
        set again_at = excluded.again_at, tries = aside.tries + 1
    )
    select array_agg(given.connection_id), array_agg(given.at)
    into p_connections, p_at
    from unnest(p_connections, p_at) as given (connection_id, at)
    where given.connection_id not in (select held.connection_id from held);
    perform private.announce_now(p_connections, p_at);
end
$$;

create or replace function private.announce_now(p_connections text[], p_at timestamptz[])
returns void
language sql
set search_path = ''
as $$
    insert into private.connection_state as state (connection_id, ready_at, payer)
    select
        work.connection_id,
        work.at as ready_at,
        coalesce(first_job.payer, work.connection_id) as payer
    from (
        select given.connection_id, min(given.at) as at
        from unnest(p_connections, p_at) as given (connection_id, at)
        group by given.connection_id
    ) as work
    left join lateral (
        select job.user_id::text as payer from public.broadcast_jobs as job
        where job.connection_id = work.connection_id
            and job.status = 'queued'
            and job.scheduled_message_id is not null
        order by job.priority, job.available_at, job.id
        limit 1
    ) as first_job on true
    order by work.connection_id
    on conflict (connection_id) do update
    set ready_at = excluded.ready_at, payer = excluded.payer
    where state.ready_at > excluded.ready_at
$$;
revoke all on function private.announce_now, private.announce_work from public;
grant execute on function private.announce_now, private.announce_work to service_role;

-- A change of the settings, and a phone that is connected again, are looked at at once; so is a
-- paused connection, and what was refused before is no longer held against it.
create or replace function private.announce_connection()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_connection text;
begin
    if tg_table_name = 'connection_settings' then
        v_connection := coalesce(new.connection_id, old.connection_id);
    elsif new.connected is distinct from old.connected then
        v_connection := new.id;
    end if;
    if v_connection is not null then
        update private.connection_state as state
        set ready_at = now(),
            probe_at = case when state.paused_reason is not null then now() end,
            refused_ids = '{}'
        where state.connection_id = v_connection;
    end if;
    return null;
exception when undefined_column then -- upstream's table need not have `connected`
    return null;
end
$$;
revoke all on function private.announce_connection from public;

create or replace trigger announce_connection
after insert or update or delete on public.connection_settings
for each row execute function private.announce_connection();

-- Not `when (to_jsonb(new) …)`: a row may hold a picture of many megabytes.
do $$
begin
    if (
        select c.relkind <> 'v' from pg_class as c where c.oid = 'public.connections'::regclass
    ) then
        create or replace trigger announce_connection after update on public.connections
        for each row execute function private.announce_connection();
    end if;
end
$$;

-- The key of the Node worker's for a connection; null where upstream's table has none (found one
-- level up, see private.situation). Its owner may write anything there, and each job of a claim
-- carries it: no more than upstream's 255.
create or replace function private.api_key_of(p_connection text)
returns text
language sql
stable
set search_path = ''
as $$
    select (
        select left(api_key::text, 255) from public.connections as c
        where c.id::text = any(array[p_connection])
    )
    from (values (null::text)) as missing (api_key)
$$;
revoke all on function private.api_key_of from public;
grant execute on function private.api_key_of to service_role;

-- How long a paused connection is left alone: 2 s at first, twice as long after each try, at most
-- five minutes. The same for a message that stops a connection which is well.
create or replace function private.probe_delay(p_failed integer)
returns interval
language sql
immutable
set search_path = ''
as $$
    select make_interval(secs => least(300, 2 * power(2, least(p_failed, 10))))
$$;

revoke all on function private.probe_delay from public;
grant execute on function private.probe_delay to service_role;
