-- What a connection may do at an instant, from its settings and its state. One row for each connection asked about.
-- `slots`: how many messages may be claimed now, null for no limit; the first goes out at greatest(p_now, first_at - slack),
-- each further one `step` seconds later. A blocked connection says why, and until when.
create or replace function private.pace(p_connections text[], p_now timestamptz, p_gateway text)
returns table (
    connection_id text, gateway text, sender text, today date, sent_today integer, step double precision, slack double precision,
    jitter double precision, first_at timestamptz, slots integer, recipient_step double precision, blocked_reason text,
    blocked_until timestamptz, fails boolean
)
language sql
stable
set search_path = ''
as $$
    with effective as (
        select st.*, se.enabled, coalesce(se.gateway, p_gateway) as gateway, se.sender, coalesce(se.timezone, 'UTC') as zone, se.burst,
            coalesce(se.jitter_seconds, 0) as jitter, se.at_daily_limit, se.window_start, se.window_end,
            p_now at time zone coalesce(se.timezone, 'UTC') as wall,
            -- 3 % slower than allowed: what is dialled on its slot still arrives a little earlier or later.
            greatest(se.period_seconds / se.messages * 1.03, nullif(st.throttle_seconds, 0)) as step,
            coalesce(se.recipient_interval_seconds, case when coalesce(se.gateway, p_gateway) = 'cloud' then 6 end) as recipient_step,
            case
                when (p_now at time zone coalesce(se.timezone, 'UTC'))::date - se.warm_up_from < se.warm_up_days then greatest(
                    se.warm_up_limit, se.warm_up_limit + (se.daily_limit - se.warm_up_limit)
                    * ((p_now at time zone coalesce(se.timezone, 'UTC'))::date - se.warm_up_from) / se.warm_up_days
                )
                else se.daily_limit
            end as day_limit,
            (to_jsonb(co) ->> 'connected')::boolean is false as is_disconnected
        from private.connection_state as st
        left join public.connection_settings as se on se.connection_id = st.connection_id
        left join public.connections as co on co.id = st.connection_id
        where st.connection_id = any(p_connections)
    ),
    today as (
        select e.*, e.wall::date as today_is, case when e.day = e.wall::date then e.sent_today else 0 end as used,
            e.window_start is not null and not case
                when e.window_start < e.window_end then e.wall::time >= e.window_start and e.wall::time < e.window_end
                else e.wall::time >= e.window_start or e.wall::time < e.window_end
            end as is_closed,
            (e.wall::date + 1 + case when e.window_start < e.window_end then e.window_start else time '00:00' end) at time zone e.zone as tomorrow,
            (e.wall::date + case when e.wall::time < e.window_start then 0 else 1 end + e.window_start) at time zone e.zone as opens_at,
            greatest(e.arrival_at, p_now) as arrival, coalesce(e.burst - 1, 0) * e.step as slack
        from effective as e
    )
    select t.connection_id, t.gateway, t.sender, t.today_is, t.used, t.step, coalesce(t.slack, 0), t.jitter, t.arrival,
        least(
            t.day_limit - t.used,
            -- A quarter of a second is looked ahead, so that a fast connection's rate does not hang on the polling.
            case when t.step is not null then greatest(0, floor((extract(epoch from p_now - t.arrival) + 0.25 + t.slack) / t.step) + 1) end
        )::integer,
        nullif(t.recipient_step, 0),
        case
            when t.enabled is false then 'this connection is switched off'
            when t.paused_reason is not null then 'the connection is paused: ' || t.paused_reason
            when t.is_disconnected then 'the WhatsApp connection is not connected'
            when t.is_closed then 'outside the sending hours ' || to_char(t.window_start, 'HH24:MI') || '–' || to_char(t.window_end, 'HH24:MI')
            when t.used >= t.day_limit then 'the daily limit of ' || t.day_limit || ' messages is reached'
        end,
        case
            when t.enabled is false then 'infinity'
            when t.paused_reason is not null then coalesce(t.probe_at, 'infinity')
            when t.is_disconnected then p_now + interval '1 minute'
            when t.is_closed then t.opens_at
            when t.used >= t.day_limit then t.tomorrow
        end,
        coalesce(not t.is_closed and t.used >= t.day_limit and t.at_daily_limit = 'fail', false)
    from today as t
$$;
revoke all on function private.pace(text[], timestamptz, text) from public;
grant execute on function private.pace(text[], timestamptz, text) to service_role;

-- Tells the rows of a blocked connection why they wait, the ones that are next first; or, where its limit says so,
-- fails them.
create or replace function private.tell_waiting(p_connection text, p_reason text, p_until timestamptz, p_fails boolean)
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
begin
    with waiting as materialized (
        select j.id, j.scheduled_message_id from public.broadcast_jobs as j
        where j.connection_id = p_connection and j.status = 'queued' and j.scheduled_message_id is not null
        order by j.available_at, j.id limit 1000 for update skip locked
    ),
    failed as (
        update public.broadcast_jobs as j
        set status = 'failed', completed_at = now(), updated_at = now()
        from waiting
        where p_fails and j.id = waiting.id
        returning j.id
    ),
    told as (
        update public.broadcast_messages as m
        set status = 'failed', error = 'Not sent: ' || p_reason || '.', updated_at = now()
        from failed
        where m.job_id = failed.id
    )
    update public.scheduled_messages as s
    set waiting_reason = p_reason, waiting_until = p_until, updated_at = now()
    from waiting
    where not p_fails and s.id = waiting.scheduled_message_id and s.status = 'processing'
        and (s.waiting_reason, s.waiting_until) is distinct from (p_reason, p_until);
end
$$;
revoke all on function private.tell_waiting(text, text, timestamptz, boolean) from public;
grant execute on function private.tell_waiting(text, text, timestamptz, boolean) to service_role;

-- Takes up to p_seats waiting jobs, as many of each connection as it may send now, and marks them `sending`, in one step:
-- what is claimed is dialled on its slot (`send_at`), so there is no state between. The same token asked twice gives the same
-- jobs: a reply that was lost can be asked for again. p_busy: connections that have enough of the caller's seats. A phone's
-- session (WAHA and its like) takes one message at a time, so it is given few. One row comes back: the jobs, null where there are none, and when the
-- next claim may find something.
create or replace function public.claim_broadcast_jobs(
    p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text default 'mock',
    p_busy text[] default '{}', p_now timestamptz default null
)
returns table (db_now timestamptz, next_ready_at timestamptz, jobs json)
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_now timestamptz := coalesce(p_now, now());
    v_seats integer := least(p_seats, 1000);
    v_turn text[];
    v_blocked record;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_token::text, 0));
    if v_seats > 0 and not exists (select 1 from public.broadcast_jobs as j where j.lease_token = p_token and j.status = 'sending') then
        v_turn := private.take_turn(v_seats, p_busy, v_now);
    end if;

    if v_turn is not null then
        for v_blocked in select p.* from private.pace(v_turn, v_now, p_gateway) as p where p.blocked_reason is not null loop
            perform private.tell_waiting(v_blocked.connection_id, v_blocked.blocked_reason, nullif(v_blocked.blocked_until, 'infinity'), v_blocked.fails);
        end loop;
        perform private.take_jobs(v_turn, p_token, v_seats, p_lease_seconds, p_gateway, v_now);
    end if;

    return query
    select clock_timestamp(), (
            select min(c.ready_at) from private.connection_state as c where c.connection_id <> all(p_busy)
        ), json_agg(claimed)
    from (
        select j.id, j.scheduled_message_id, j.connection_id, j.recipient, j.type, j.message, j.media_url, j.caption, j.media,
            j.asset_id, j.user_id as owner_id, j.attempts, j.throttled, j.schedule as scheduled_at, j.send_at, j.gateway, se.sender,
            se.period_seconds * 0.02 as slot_tolerance,
            extract(epoch from j.lease_until - clock_timestamp()) as lease_left,
            case when j.gateway = 'bullmq' then (select to_jsonb(c) ->> 'api_key' from public.connections as c where c.id = j.connection_id) end as api_key
        from public.broadcast_jobs as j
        left join public.connection_settings as se on se.connection_id = j.connection_id
        where j.lease_token = p_token and j.status = 'sending'
        order by j.send_at, j.schedule, j.id
    ) as claimed;
end
$$;

-- Whose turn it is: the connections that have waited longest, locked. Another daemon's are passed over, unless nothing else
-- is there: then its turn is over in a moment.
create or replace function private.take_turn(p_seats integer, p_busy text[], p_now timestamptz)
returns text[]
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_turn text[];
begin
    select array_agg(turn.connection_id) into v_turn
    from (
        select c.connection_id from private.connection_state as c
        where c.ready_at <= p_now and c.connection_id <> all(p_busy) order by c.ready_at, c.connection_id limit p_seats for update skip locked
    ) as turn;
    if v_turn is null then
        select array_agg(turn.connection_id) into v_turn
        from (
            select c.connection_id from private.connection_state as c
            where c.ready_at <= p_now and c.connection_id <> all(p_busy) order by c.ready_at, c.connection_id limit 1 for update
        ) as turn;
    end if;
    return v_turn;
end
$$;

create or replace function private.take_jobs(
    p_turn text[], p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text, p_now timestamptz
)
returns void
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_taken jsonb;
begin
    with turn as materialized (
        select * from private.pace(p_turn, p_now, p_gateway)
    ),
    candidate as materialized (
        select job.*, t.gateway as way, t.step, t.slack, t.jitter, t.first_at, t.recipient_step
        from turn as t
        cross join lateral (
            select j.id, j.connection_id, j.recipient, j.available_at from public.broadcast_jobs as j
            where j.connection_id = t.connection_id and j.status = 'queued' and j.scheduled_message_id is not null and j.available_at <= p_now
            order by j.available_at, j.id
            limit least(ceil(p_seats::numeric / cardinality(p_turn)), t.slots, case when t.gateway in ('waha', 'evolution', 'wppconnect') then 4 end)
            for update skip locked
        ) as job
        where t.blocked_reason is null
        limit p_seats
    ),
    -- Whom a connection wrote to a moment ago has to wait; so has the second message to the same recipient.
    spaced as (
        select c.*, greatest(r.free_at, p_now) + make_interval(secs => c.recipient_step * (
            row_number() over (partition by c.connection_id, c.recipient order by c.available_at, c.id) - 1
        )) as free_at
        from candidate as c
        left join private.recipient_state as r
            on c.recipient_step is not null and r.connection_id = c.connection_id and r.recipient = c.recipient
    ),
    slotted as (
        select s.*, s.first_at + make_interval(secs => s.step * (s.nth - 1) + s.jitter_sum) as arrival_at,
            greatest(p_now, s.first_at + make_interval(secs => s.step * (s.nth - 1) + s.jitter_sum - s.slack)) as send_at
        from (
            select f.*, row_number() over slots as nth,
                coalesce(sum(random() * f.jitter) over (slots rows between unbounded preceding and 1 preceding), 0) as jitter_sum
            from spaced as f
            where f.recipient_step is null or f.free_at <= p_now
            window slots as (partition by f.connection_id order by f.available_at, f.id)
        ) as s
    ),
    sending as (
        update public.broadcast_jobs as j
        set status = 'sending', lease_token = p_token, lease_until = now() + make_interval(secs => p_lease_seconds), gateway = s.way,
            attempts = j.attempts + 1, send_at = coalesce(s.send_at, p_now), updated_at = now()
        from slotted as s
        where j.id = s.id
    ),
    postponed as (
        update public.broadcast_jobs as j
        set available_at = s.free_at, updated_at = now()
        from spaced as s
        where j.id = s.id and s.recipient_step is not null and s.free_at > p_now
    ),
    remembered as (
        insert into private.recipient_state as r (connection_id, recipient, free_at)
        select s.connection_id, s.recipient, max(coalesce(s.send_at, p_now) + make_interval(secs => s.recipient_step))
        from slotted as s
        where s.recipient_step is not null
        group by s.connection_id, s.recipient
        on conflict (connection_id, recipient) do update set free_at = excluded.free_at
    )
    select jsonb_object_agg(taken.connection_id, taken.what) into v_taken
    from (
        select s.connection_id, jsonb_build_object('number', count(*), 'last_at', max(s.arrival_at), 'jitter', random() * max(s.jitter)) as what
        from slotted as s
        group by s.connection_id
    ) as taken;

    -- To the back of the line, or to sleep: until the next slot, the next job, the end of the block.
    update private.connection_state as c
    set arrival_at = case
            when t.step is not null then coalesce((v_taken -> c.connection_id ->> 'last_at')::timestamptz
                + make_interval(secs => t.step + (v_taken -> c.connection_id ->> 'jitter')::double precision), c.arrival_at)
            else c.arrival_at
        end,
        day = t.today,
        sent_today = t.sent_today + coalesce((v_taken -> c.connection_id ->> 'number')::integer, 0),
        blocked_reason = t.blocked_reason,
        blocked_until = t.blocked_until,
        throttle_seconds = case when c.throttle_seconds > 0.02 then c.throttle_seconds * 0.95 else 0 end,
        ready_at = case
            when t.blocked_reason like 'the connection is paused%' then 'infinity'
            when t.blocked_reason is not null and not t.fails then t.blocked_until
            else greatest(
                p_now,
                coalesce((
                    select min(j.available_at) from public.broadcast_jobs as j
                    where j.connection_id = c.connection_id and j.status = 'queued' and j.scheduled_message_id is not null
                ), 'infinity'),
                case when t.step is not null then coalesce((v_taken -> c.connection_id ->> 'last_at')::timestamptz
                    + make_interval(secs => t.step + (v_taken -> c.connection_id ->> 'jitter')::double precision), c.arrival_at)
                    - make_interval(secs => t.slack + 0.2) end
            )
        end
    from private.pace(p_turn, p_now, p_gateway) as t
    where c.connection_id = t.connection_id;
end
$$;
revoke all on function private.take_turn(integer, text[], timestamptz),
private.take_jobs(text[], uuid, integer, double precision, text, timestamptz) from public;
grant execute on function private.take_turn(integer, text[], timestamptz),
private.take_jobs(text[], uuid, integer, double precision, text, timestamptz) to service_role;

revoke all on function public.claim_broadcast_jobs(uuid, integer, double precision, text, text[], timestamptz) from public, anon, authenticated;
grant execute on function public.claim_broadcast_jobs(uuid, integer, double precision, text, text[], timestamptz) to service_role;
