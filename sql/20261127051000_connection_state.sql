-- The limiter: what it remembers of a connection, and what it makes of that and of the settings. The daemon's alone.
-- Locks: `create trigger` on connections takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create table if not exists private.connection_state (
    connection_id text primary key,
    -- The earliest instant at which a claim may find something to do here; 'infinity' when nothing waits.
    ready_at timestamptz not null default 'infinity',
    -- GCRA's theoretical arrival time: when the next message would be due if all came evenly spaced.
    arrival_at timestamptz not null default '-infinity',
    -- What was claimed on this day, in the connection's time zone, and was not handed back.
    day date,
    sent_today integer not null default 0,
    -- What the waiting rows are told: why, and until when; and up to which job they were told (null: there is nothing to tell).
    waiting_reason text,
    waiting_until timestamptz,
    told_at timestamptz,
    told_id uuid not null default '00000000-0000-0000-0000-000000000000',
    -- Stopped by the gateway: paused until a probe succeeds, the next of which is at probe_at; `failed_probes` spaces them out.
    paused_reason text,
    probe_at timestamptz,
    failed_probes integer not null default 0,
    -- The jobs that stopped it since its last probe, which judges them (finish_probes).
    stopped_ids uuid[] not null default '{}',
    -- The rows that stopped it one after the other although its probe found it well, none of another between them. From the
    -- second on the probe is not believed: it stays paused, and one message is tried after each probe (`is_on_trial`).
    refused_ids uuid[] not null default '{}',
    is_on_trial boolean not null default false,
    -- When messages were last let through to the gateway again, until one got through; and when the first of them did.
    resumed_at timestamptz,
    through_at timestamptz,
    -- Seconds between messages since the gateway said "too fast" (private.slowdown), and from when on that wears off.
    throttle_seconds double precision not null default 0,
    throttled_until timestamptz,
    -- Until when some recipient here is to be left alone, whatever the settings say.
    recipients_until timestamptz
);
-- Who pays for its turns: the owner of what waits here, or the connection itself where nobody owns it; and its last turn.
alter table private.connection_state
add column if not exists payer text not null default '',
add column if not exists turn_at timestamptz not null default '-infinity';
create index if not exists connection_state_payer_ready_idx
on private.connection_state (payer, ready_at, connection_id) where ready_at < 'infinity';
create index if not exists connection_state_payer_turn_idx on private.connection_state (payer, turn_at);
create index if not exists connection_state_probe_idx on private.connection_state (probe_at) where probe_at is not null;
create index if not exists connection_state_ready_idx on private.connection_state (ready_at, connection_id);
alter table private.connection_state set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
alter table private.connection_state enable row level security;
grant select, insert, update, delete on private.connection_state to service_role;

-- Until when a recipient is to be left alone on a connection: because of a job that was claimed, or for a reason.
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

-- Says that these connections have work at these instants. Every writer of a waiting job calls it last, so that the
-- lock on a busy connection's row is held for a moment only. A row that somebody holds for longer than lock_timeout, such as
-- one whose settings are being changed by a transaction that does not end, is told later (private.retry_refused): nobody
-- else's work waits for that.
create or replace function private.announce_work(p_connections text[], p_at timestamptz[])
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform private.announce_now(p_connections, p_at);
exception when lock_not_available then
    with free as materialized (
        select c.connection_id from private.connection_state as c
        where c.connection_id = any(p_connections) order by c.connection_id for no key update skip locked
    ),
    held as (
        select given.connection_id, min(given.at) as at
        from unnest(p_connections, p_at) as given (connection_id, at)
        where given.connection_id not in (select f.connection_id from free as f)
            and exists (select 1 from private.connection_state as c where c.connection_id = given.connection_id)
        group by given.connection_id
    ),
    told_later as (
        insert into private.refused_rows as r (step, id, code, reason, again_at, connection_id)
        select 'announce', md5(h.connection_id)::uuid, '55P03', 'a transaction that is still open holds this connection',
            now() + interval '1 second', h.connection_id
        from held as h
        on conflict (id, step) do update set again_at = excluded.again_at, tries = r.tries + 1
    )
    select array_agg(given.connection_id), array_agg(given.at)
    into p_connections, p_at
    from unnest(p_connections, p_at) as given (connection_id, at)
    where given.connection_id not in (select h.connection_id from held as h);
    perform private.announce_now(p_connections, p_at);
end
$$;

create or replace function private.announce_now(p_connections text[], p_at timestamptz[])
returns void
language sql
set search_path = ''
as $$
    insert into private.connection_state as c (connection_id, ready_at, payer)
    select work.connection_id, work.at, coalesce(first_job.payer, work.connection_id)
    from (
        select given.connection_id, min(given.at) as at
        from unnest(p_connections, p_at) as given (connection_id, at)
        group by given.connection_id
    ) as work
    left join lateral (
        select j.user_id::text as payer from public.broadcast_jobs as j
        where j.connection_id = work.connection_id and j.status = 'queued' and j.scheduled_message_id is not null
        order by j.available_at, j.id
        limit 1
    ) as first_job on true
    order by work.connection_id
    on conflict (connection_id) do update set ready_at = excluded.ready_at, payer = excluded.payer
    where c.ready_at > excluded.ready_at
$$;
revoke all on function private.announce_now(text[], timestamptz[]) from public;
grant execute on function private.announce_now(text[], timestamptz[]) to service_role;
revoke all on function private.announce_work(text[], timestamptz[]) from public;
grant execute on function private.announce_work(text[], timestamptz[]) to service_role;

-- A change of the settings, and a phone that is connected again, are looked at at once; so is a paused connection, and what
-- was refused before is no longer held against it.
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
        update private.connection_state as c
        set ready_at = now(), probe_at = case when c.paused_reason is not null then now() end, refused_ids = '{}'
        where c.connection_id = v_connection;
    end if;
    return null;
exception when undefined_column then -- upstream's table need not have `connected`
    return null;
end
$$;
revoke all on function private.announce_connection() from public;

create or replace trigger announce_connection after insert or update or delete on public.connection_settings
for each row execute function private.announce_connection();

-- Not `when (to_jsonb(new) …)`: a row may hold a picture of many megabytes.
do $$
begin
    if (select c.relkind <> 'v' from pg_class as c where c.oid = 'public.connections'::regclass) then
        create or replace trigger announce_connection after update on public.connections
        for each row execute function private.announce_connection();
    end if;
end
$$;

-- The key of the Node worker's for a connection; null where upstream's table has none (found one level up, see
-- private.situation). Its owner may write anything there, and each job of a claim carries it: no more than upstream's 255.
create or replace function private.api_key_of(p_connection text)
returns text
language sql
stable
set search_path = ''
as $$
    select (select left(api_key::text, 255) from public.connections as co where co.id::text = any(array[p_connection]))
    from (values (null::text)) as missing (api_key)
$$;
revoke all on function private.api_key_of(text) from public;
grant execute on function private.api_key_of(text) to service_role;

-- Seconds between messages that the gateway's last "too fast" still asks for; null once it has worn off. They halve every
-- 10 s from p_until on, so the rate doubles until the gateway objects again: it swings between the half of what the gateway
-- takes and all of it, whatever that is. `least` because 0.5 to a high power is an error, not zero.
create or replace function private.slowdown(p_seconds double precision, p_until timestamptz, p_now timestamptz)
returns double precision
language sql
immutable
set search_path = ''
as $$
    select case when worn.seconds > 0.01 then worn.seconds end
    from (
        select p_seconds * power(0.5, least(60, greatest(0, extract(epoch from p_now - p_until)::double precision / 10))) as seconds
    ) as worn
$$;

-- How long a paused connection is left alone: 2 s at first, twice as long after each try, at most five minutes. The same for a
-- message that stops a connection which is well.
create or replace function private.probe_delay(p_failed integer)
returns interval
language sql
immutable
set search_path = ''
as $$
    select make_interval(secs => least(300, 2 * power(2, least(p_failed, 10))))
$$;

-- Whether the operator has given the session of this name to another owner's connection.
create or replace function private.is_session_of_another(p_connection_id text, p_gateway text, p_default text)
returns boolean
language sql
stable
set search_path = ''
set enable_seqscan = off
as $$
    select exists (
        select 1 from public.connection_settings as o
        where o.sender = p_connection_id and o.connection_id <> p_connection_id and coalesce(o.gateway, p_default) = p_gateway
            and coalesce(
                (select private.owner_of(c.*) from public.connections as c where c.id::text = o.connection_id),
                (select w.owner_id from private.connection_owners as w where w.connection_id = o.connection_id)
            ) is distinct from (select private.owner_of(c.*) from public.connections as c where c.id::text = p_connection_id)
    )
$$;
revoke all on function private.is_session_of_another(text, text, text) from public;
grant execute on function private.is_session_of_another(text, text, text) to service_role;

-- The settings and the state of connections at an instant, with the defaults. A blocked one says why, and until when.
-- `closes_at`: the end of the day where days are counted, or of the sending hours. `step`: seconds between messages; null
-- where nothing spaces them. It is 3 % longer than it need be: what is dialled on its slot may then arrive later by up to 3 %
-- of a period, and no window of a period ever holds too many. `tolerance`: how late it may be dialled; the rest of the 3 %
-- is the network's.
create or replace function private.situation(p_connections text[], p_now timestamptz, p_gateway text)
returns table (
    connection_id text, gateway text, blocked_reason text, blocked_until timestamptz, fails boolean, today date, used integer, daily_limit integer,
    closes_at timestamptz, arrival_at timestamptz, step double precision, slack double precision, jitter double precision,
    tolerance double precision, recipient_step double precision, turn_reason text, is_on_trial boolean
)
language sql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    select st.connection_id, f.gateway,
        case block.kind
            when 'off' then 'this connection is switched off'
            when 'held' then 'this connection has an id that was another account''s; the operator can release it'
            when 'unnamed' then 'nobody has confirmed which session is this connection''s; the operator can name it'
            when 'paused' then 'the connection is paused: ' || st.paused_reason
            when 'disconnected' then 'the WhatsApp connection is not connected'
            when 'closed' then 'outside the sending hours ' || to_char(se.window_start, 'HH24:MI') || ' to ' || to_char(se.window_end, 'HH24:MI')
            when 'limit' then 'the daily limit of ' || f.daily_limit || ' messages is reached'
        end,
        case
            when block.kind in ('off', 'held', 'unnamed', 'disconnected') then 'infinity'
            when block.kind = 'paused' then coalesce(st.probe_at, 'infinity')
            when block.kind = 'closed' then ca.opens_at
            when block.kind = 'limit' then ca.reopens_at
        end,
        coalesce(block.kind = 'limit' and se.at_daily_limit = 'fail', false), day.today, f.used, f.daily_limit,
        least(case when se.daily_limit is not null then ca.tomorrow end, case when se.window_start is not null then ca.closes_at end),
        st.arrival_at, f.step, coalesce(rate.burst - 1, 0) * f.step, coalesce(se.jitter_seconds, 0), rate.period_seconds * 0.02,
        coalesce(
            nullif(coalesce(se.recipient_interval_seconds, case when f.gateway = 'cloud' then 6 end), 0) * 1.03,
            case when st.recipients_until > p_now then 0 end
        ),
        'its turn: ' || coalesce('at most ' || rate.messages || ' in ' || rate.period_seconds || ' s', 'the gateway has asked to slow down'),
        st.is_on_trial
    from private.connection_state as st
    left join public.connection_settings as se on se.connection_id = any(array[st.connection_id])
    left join private.connection_owners as ow on ow.connection_id = any(array[st.connection_id])
    -- Upstream's table need not have the column: where it does not, the name is found one level up. Not by to_jsonb of the
    -- row, which may hold a picture of many megabytes.
    left join lateral (
        select (select connected::text from public.connections as co where co.id::text = any(array[st.connection_id])) as connected
        from (values (null::text)) as missing (connected)
    ) as phone on true
    left join lateral (
        select c.* from private.calendar(coalesce(se.timezone, 'UTC'), se.window_start, se.window_end, p_now) as c
        where se.daily_limit is not null or se.window_start is not null
        offset 0
    ) as ca on true
    cross join lateral (select (p_now at time zone coalesce(se.timezone, 'UTC'))::date as today) as day
    -- The Node worker sends five messages at a time and rests 6 s after each. More than it takes would lie in its queue, where
    -- nobody can take it back; so where nothing else is set it is handed over no faster.
    cross join lateral (
        select
            coalesce(se.messages, case when usual.is_it then 48 end) as messages,
            coalesce(se.period_seconds, case when usual.is_it then 60 end) as period_seconds,
            case when usual.is_it then 5 else se.burst end as burst
        from (select coalesce(se.gateway, p_gateway) = 'bullmq' and se.messages is null as is_it) as usual
        offset 0
    ) as rate
    cross join lateral (
        select coalesce(se.gateway, p_gateway) as gateway,
            case when st.day = day.today then st.sent_today else 0 end as used,
            case when se.daily_limit is not null then private.daily_limit(se, day.today) end as daily_limit,
            greatest(
                rate.period_seconds / (rate.messages - rate.burst + 1) * 1.03,
                case when st.throttled_until is not null then private.slowdown(st.throttle_seconds, st.throttled_until, p_now) end
            ) as step
        offset 0
    ) as f
    cross join lateral (
        select case
            when not se.enabled then 'off'
            when ow.is_held then 'held'
            when se.sender is null and f.gateway in ('waha', 'evolution', 'wppconnect')
                and (ow.is_chosen or private.is_session_of_another(st.connection_id, f.gateway, p_gateway)) then 'unnamed'
            when st.paused_reason is not null and not st.is_on_trial then 'paused'
            -- A boolean, a number or a word.
            when lower(phone.connected) in ('false', 'f', 'no', 'off', '0') then 'disconnected'
            when not ca.is_open then 'closed'
            when f.used >= f.daily_limit then 'limit'
        end as kind
        offset 0
    ) as block
    where st.connection_id = any(p_connections)
$$;

-- The same with slots: the next message is due at `first_at`, each further one `step` later, each may go `slack` before it is
-- due but not before `earliest`, and `slots` may be claimed now (null: any number). `look_at`: when to come back for more.
--   * A claim reaches whoever asked for it p_lead seconds late. So no slot is given that would be missed by then, slots are
--     given for a third of a second after it, and the connection is looked at again as long before the next slot: the rate of
--     a fast one depends neither on polling nor on how far away the database is.
--   * No slot lies beyond `closes_at`: what counts today goes out today.
--   * What the Node worker was given and has not finished takes up room: ten at least, or a burst and what goes in nine
--     seconds; where there is none the connection is looked at again after five seconds. What it was given ten minutes ago does
--     not count, because it may have died with it.
create or replace function private.pace(p_connections text[], p_now timestamptz, p_gateway text, p_lead double precision)
returns table (
    connection_id text, gateway text, blocked_reason text, blocked_until timestamptz, fails boolean, turn_reason text, today date, used integer,
    closes_at timestamptz, horizon timestamptz, earliest timestamptz, first_at timestamptz, step double precision, slack double precision,
    jitter double precision, tolerance double precision, recipient_step double precision, slots integer, look_at timestamptz,
    is_on_trial boolean
)
language sql
stable
set search_path = ''
as $$
    select s.connection_id, s.gateway, s.blocked_reason, s.blocked_until, s.fails, case when s.step is not null then s.turn_reason end,
        s.today, s.used, s.closes_at, h.horizon, h.earliest, h.first_at, s.step, s.slack, s.jitter, s.tolerance, s.recipient_step,
        least(
            s.daily_limit - s.used,
            case when s.is_on_trial then 1 end,
            room.free,
            case
                when s.step is null then null
                when h.earliest >= h.horizon then 0
                else greatest(0, ceil(extract(epoch from h.horizon - h.first_at + make_interval(secs => s.slack))::double precision / s.step))
            end
        )::integer,
        case
            when greatest(h.earliest, h.first_at - make_interval(secs => s.slack)) >= s.closes_at then s.closes_at
            when room.free = 0 then p_now + interval '5 seconds'
            else h.first_at - make_interval(secs => s.slack + p_lead + 0.15)
        end,
        s.is_on_trial
    from private.situation(p_connections, p_now, p_gateway) as s
    cross join lateral (
        select least(p_now + make_interval(secs => p_lead + 0.35), s.closes_at) as horizon,
            p_now + make_interval(secs => greatest(0, p_lead - s.tolerance)) as earliest,
            greatest(s.arrival_at, p_now + make_interval(secs => greatest(0, p_lead - s.tolerance))) as first_at
    ) as h
    left join lateral (
        select greatest(0, greatest(10, floor((9 + s.slack) / s.step)) - count(*)) as free
        from public.broadcast_jobs as j
        where j.connection_id = s.connection_id and j.status in ('handed_over', 'active')
            and j.scheduled_message_id is not null and j.send_at > p_now - interval '10 minutes'
        having s.gateway = 'bullmq'
    ) as room on true
$$;

-- What the answers to messages say of their connections, one call for a batch of them; what went out says something only
-- where something was refused before.
--   * Those that did not go out no longer count for their day (if it is still that day).
--   * A recipient who got too many, or whom WhatsApp locks, is left alone for a while. One whom nothing reached is free, and
--     what waited for that alone waits no longer.
--   * One that was dialled since the last slowdown and still was too fast, or to a locked one, doubles it.
--   * One that found the connection unusable pauses it, until a probe succeeds.
--   * One that got through after others had been refused shows that the connection is well, whatever they met with.
create or replace function private.note_outcomes(
    p_connections text[], p_outcomes text[], p_errors text[], p_available_at timestamptz[], p_send_at timestamptz[],
    p_recipients text[], p_job_ids uuid[]
)
returns void
language sql
set search_path = ''
as $$
    -- In order, like every writer of several of these rows: else two could wait for each other.
    select from private.connection_state as c where c.connection_id = any(p_connections) order by c.connection_id for update;

    -- First, because what went out beside a message that was refused does not tell which of them was dialled later. The one
    -- message that is tried while a connection is doubted settles it by getting through, and by stopping it again; after any
    -- other answer the next is tried at once.
    update private.connection_state as c
    set through_at = case when heard.is_through then now() else c.through_at end,
        resumed_at = case when not heard.is_through then c.resumed_at end,
        refused_ids = case when heard.is_through then '{}' else c.refused_ids end,
        paused_reason = case when not (heard.is_through and heard.is_doubted) then c.paused_reason end,
        probe_at = case when not (heard.is_through and heard.is_doubted) then c.probe_at end,
        is_on_trial = heard.is_doubted and not heard.is_through and not heard.is_stopped,
        ready_at = least(c.ready_at, now())
    from (
        select st.connection_id, cardinality(st.refused_ids) > 1 as is_doubted,
            bool_or(g.outcome = 'sent') as is_through, bool_or(g.outcome = 'stopped') as is_stopped
        from unnest(p_connections, p_outcomes, p_send_at) as g (connection_id, outcome, send_at)
        join private.connection_state as st on st.connection_id = any(array[g.connection_id]) and g.send_at >= st.resumed_at
        group by st.connection_id
    ) as heard
    where c.connection_id = any(array[heard.connection_id]) and (heard.is_through or heard.is_doubted);

    update private.connection_state as c
    set sent_today = greatest(0, c.sent_today - heard.unsent),
        ready_at = least(c.ready_at, now()),
        arrival_at = greatest(
            -- Nobody dialled on the last slot that was booked, and none behind it is: it is free again.
            case when c.arrival_at < heard.unused_at + heard.two_steps then least(c.arrival_at, heard.unused_at) else c.arrival_at end,
            c.throttled_until, heard.throttled_until
        ),
        throttle_seconds = case when heard.is_slower then least(60, greatest(0.05, 2 * heard.step)) else c.throttle_seconds end,
        throttled_until = greatest(c.throttled_until, heard.throttled_until),
        recipients_until = greatest(c.recipients_until, heard.recipients_until),
        paused_reason = coalesce(c.paused_reason, heard.stopped),
        probe_at = case
            when heard.pauses then now() + private.probe_delay(0)
            when heard.stopped is not null and cardinality(c.refused_ids) > 1 then now() + private.probe_delay(c.failed_probes)
            else c.probe_at
        end,
        failed_probes = case when heard.pauses then 0 else c.failed_probes end,
        stopped_ids = c.stopped_ids || heard.stopped_ids,
        told_at = case when heard.stopped is not null then '-infinity' else c.told_at end
    from (
        select st.connection_id,
            count(*) filter (where (g.send_at at time zone coalesce(se.timezone, 'UTC'))::date = st.day) as unsent,
            greatest(
                max(greatest(g.available_at, now())) filter (where g.outcome = 'throttled_connection'),
                max(now() + interval '10 seconds') filter (where g.outcome = 'locked_recipient')
            ) as throttled_until,
            max(g.available_at) filter (where g.outcome in ('throttled_recipient', 'locked_recipient')) as recipients_until,
            bool_or(g.outcome in ('throttled_connection', 'locked_recipient') and (st.throttled_until is null or g.send_at >= st.throttled_until)) as is_slower,
            greatest(private.slowdown(st.throttle_seconds, st.throttled_until, now()), se.period_seconds / se.messages) as step,
            max(g.send_at) filter (where g.outcome = 'released') as unused_at,
            case when se.burst = 1 and se.jitter_seconds < se.period_seconds / se.messages then
                make_interval(secs => 2 * se.period_seconds / se.messages)
            end as two_steps,
            max(left(g.error, 300)) filter (where g.outcome = 'stopped') as stopped,
            bool_or(g.outcome = 'stopped') and st.paused_reason is null as pauses,
            coalesce(array_agg(g.job_id) filter (where g.outcome = 'stopped'), '{}') as stopped_ids
        from unnest(p_connections, p_outcomes, p_errors, p_available_at, p_send_at, p_job_ids)
            as g (connection_id, outcome, error, available_at, send_at, job_id)
        join private.connection_state as st on st.connection_id = any(array[g.connection_id])
        left join public.connection_settings as se on se.connection_id = any(array[g.connection_id])
        where g.outcome not in ('sent', 'unconfirmed', 'handed_over')
        group by st.connection_id, se.connection_id
    ) as heard
    where c.connection_id = any(array[heard.connection_id]);

    -- After the connections, like a claim.
    with free as (
        delete from private.recipient_state as r
        using unnest(p_connections, p_outcomes, p_recipients, p_job_ids) as g (connection_id, outcome, recipient, job_id)
        where r.connection_id = any(array[g.connection_id]) and r.recipient = any(array[g.recipient]) and r.job_id = g.job_id
            and g.outcome not in ('sent', 'unconfirmed', 'handed_over')
        returning r.connection_id, r.recipient, r.free_at, g.outcome
    )
    update public.broadcast_jobs as j
    set available_at = now(), updated_at = now()
    from free as f
    cross join lateral (
        select q.id from public.broadcast_jobs as q
        where q.connection_id = f.connection_id and q.status = 'queued' and q.scheduled_message_id is not null
            and q.available_at > now() and q.available_at <= f.free_at and q.recipient = f.recipient and q.attempts = 0
        order by q.available_at, q.id limit 1 for update skip locked
    ) as next_one
    where j.id = any(array[next_one.id]) and f.outcome = 'failed';

    insert into private.recipient_state as r (connection_id, recipient, free_at, reason)
    select g.connection_id, g.recipient, max(g.available_at),
        max(regexp_replace(g.error, '^try .*? UTC: |\. By the time it might.*$', '', 'g'))
    from unnest(p_connections, p_outcomes, p_errors, p_available_at, p_recipients)
        as g (connection_id, outcome, error, available_at, recipient)
    where g.outcome in ('throttled_recipient', 'locked_recipient')
    group by g.connection_id, g.recipient
    on conflict (connection_id, recipient) do update
    set free_at = greatest(r.free_at, excluded.free_at), reason = excluded.reason, job_id = null
$$;
revoke all on function private.slowdown(double precision, timestamptz, timestamptz), private.probe_delay(integer),
private.situation(text[], timestamptz, text), private.pace(text[], timestamptz, text, double precision),
private.note_outcomes(text[], text[], text[], timestamptz[], timestamptz[], text[], uuid[]) from public;
grant execute on function private.slowdown(double precision, timestamptz, timestamptz), private.probe_delay(integer),
private.situation(text[], timestamptz, text), private.pace(text[], timestamptz, text, double precision),
private.note_outcomes(text[], text[], text[], timestamptz[], timestamptz[], text[], uuid[]) to service_role;
