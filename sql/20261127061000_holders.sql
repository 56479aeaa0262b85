-- Who holds what the daemon needs: transactions that have been open for more than five seconds and
-- hold rows that it locks, or the tables themselves. It skips those rows and says whom it waits
-- for.

-- `security definer`, the one function of ours that is and that somebody may call (sql/README.md
-- says why that is safe): the service key does not see how old others' transactions are. Its owner,
-- the role that migrates, does where it is a member of pg_monitor, as `postgres` of a Supabase
-- project is; elsewhere `seconds` and `state` are null, and every transaction is told of that holds
-- anything at this moment. It names no table but in the catalog, so that it waits for nobody.
-- `transaction` is the same as long as it is the same one. `blocks`: how many of the database's
-- sessions wait for it just now.
create or replace function private.get_holders()
returns table (
    pid integer,
    role text,
    application text,
    seconds double precision,
    state text,
    tables text[],
    blocks integer,
    transaction text
)
language sql
stable
security definer
set search_path = ''
as $$
    -- What the daemon needs.
    with ours as materialized (
        select
            c.oid,
            c.relname::text as name,
            -- Those are shown, but the daemon only reads them.
            c.relname not in ('connections', 'contacts') as is_locked_by_us
        from pg_catalog.pg_class as c
        join pg_catalog.pg_namespace as n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and (
            (n.nspname = 'public' and c.relname in (
                'scheduled_messages', 'broadcast_jobs', 'broadcast_messages',
                'connections', 'contacts', 'connection_settings'
            ))
            or (n.nspname = 'private' and c.relname in (
                'connection_state', 'recipient_state', 'refused_rows', 'erasures'
            ))
            or (n.nspname = 'auth' and c.relname = 'users')
        )
    ),
    -- What everybody else holds, or waits for: the view is read once.
    locks as materialized (
        select
            l.pid,
            l.relation,
            l.mode,
            l.granted,
            l.virtualtransaction
        from pg_catalog.pg_locks as l
        where l.pid is not null and l.pid <> pg_catalog.pg_backend_pid()
    ),
    -- Who holds up how many of those that wait; of fifty, since each costs a look at all locks.
    blocking as materialized (
        select
            blocker.pid,
            count(*)::integer as number
        from (
            select distinct l.pid
            from locks as l
            where not l.granted
            limit 50
        ) as waiting
        cross join lateral unnest(pg_catalog.pg_blocking_pids(waiting.pid)) as blocker (pid)
        group by blocker.pid
    ),
    -- Who holds which of our tables.
    holding as materialized (
        select
            l.pid,
            array_agg(distinct o.name order by o.name) as tables
        from locks as l
        join ours as o on o.oid = l.relation
        where l.granted and l.mode not in ('AccessShareLock', 'ShareUpdateExclusiveLock')
        group by l.pid
        -- A table of which rows are only read is held by nothing less than this.
        having bool_or(o.is_locked_by_us or l.mode = 'AccessExclusiveLock')
    )
    select
        holding.pid,
        activity.usename::text as role,
        nullif(activity.application_name, '') as application,
        extract(epoch from clock_timestamp() - activity.xact_start)::double precision as seconds,
        activity.state,
        holding.tables,
        coalesce(blocking.number, 0) as blocks,
        (
            select min(l.virtualtransaction) from locks as l where l.pid = holding.pid
        ) as transaction
    from holding
    join pg_catalog.pg_stat_activity as activity on activity.pid = holding.pid
    left join blocking on blocking.pid = holding.pid
    where coalesce(activity.backend_type, 'client backend') = 'client backend'
        and coalesce(activity.xact_start < clock_timestamp() - interval '5 seconds', true)
    order by activity.xact_start, holding.pid
    limit 10
$$;
revoke all on function private.get_holders from public;
grant execute on function private.get_holders to service_role;

-- In words, for people: what to do about it stands there too.
create or replace function public.get_holders()
returns table (
    pid integer,
    role text,
    application text,
    seconds double precision,
    state text,
    tables text[],
    blocks integer,
    transaction text,
    words text
)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    select
        h.*,
        format(
            'a transaction (pid %s, role %s%s, %s) holds rows of %s%s: end it with '
            'select pg_terminate_backend(%s)',
            h.pid,
            h.role,
            ', ' || h.application,
            case
                when h.seconds is null then 'since when its role may not see'
                when h.state like 'idle in transaction%'
                    then 'idle, open for ' || round(h.seconds) || ' s'
                else 'running for ' || round(h.seconds) || ' s'
            end,
            array_to_string(h.tables, ', '),
            case when h.blocks > 0 then format(', and %s session(s) wait for it', h.blocks) end,
            h.pid
        ) as words
    from private.get_holders() as h
$$;
revoke all on function public.get_holders() from public, anon, authenticated;
grant execute on function public.get_holders() to service_role;
