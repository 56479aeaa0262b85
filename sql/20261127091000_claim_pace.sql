-- What the limiter makes of a connection's settings and of what it remembers of it: how many messages may go out, and when.

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
revoke all on function private.is_session_of_another from public;
grant execute on function private.is_session_of_another to service_role;

-- The settings and the state of connections at an instant, with the defaults. A blocked one says why, and until when.
-- `closes_at`: the end of the day where days are counted, or of the sending hours. `step`: seconds between messages; null
-- where nothing spaces them. It is 3 % longer than it need be: what is dialled on its slot may then arrive later by up to 3 %
-- of a period, and no window of a period ever holds too many. `tolerance`: how late it may be dialled; the rest of the 3 %
-- is the network's.
create or replace function private.situation(p_connections text[], p_now timestamptz, p_gateway text)
returns table (
    connection_id text, gateway text, blocked_reason text, blocked_until timestamptz, fails boolean, today date, used integer, daily_limit integer,
    closes_at timestamptz, arrival_at timestamptz, step double precision, slack double precision, jitter double precision,
    tolerance double precision, recipient_step double precision, turn_reason text, is_on_trial boolean,
    one_at_a_time boolean, hands_over boolean
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
            nullif(coalesce(se.recipient_interval_seconds, kind.pair_seconds), 0) * 1.03,
            case when st.recipients_until > p_now then 0 end
        ),
        'its turn: ' || coalesce('at most ' || rate.messages || ' in ' || rate.period_seconds || ' s', 'the gateway has asked to slow down'),
        st.is_on_trial, kind.one_at_a_time, kind.hands_over
    from private.connection_state as st
    left join public.connection_settings as se on se.connection_id = any(array[st.connection_id])
    left join private.gateways as kind on kind.name = any(array[coalesce(se.gateway, p_gateway)])
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
    cross join lateral (
        select
            coalesce(se.messages, kind.messages) as messages,
            coalesce(se.period_seconds, kind.period_seconds) as period_seconds,
            case when se.messages is null then kind.burst else se.burst end as burst
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
            when se.sender is null and kind.one_at_a_time
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
    is_on_trial boolean, one_at_a_time boolean
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
        s.is_on_trial, s.one_at_a_time
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
        having s.hands_over
    ) as room on true
$$;

revoke all on function private.slowdown, private.situation, private.pace from public;
grant execute on function private.slowdown, private.situation, private.pace to service_role;
