-- What the limiter makes of a connection's settings and of what it remembers of it: how many
-- messages may go out, and when.

-- Seconds between messages that the gateway's last "too fast" still asks for; null once it has worn
-- off. They halve every 10 s from p_until on, so the rate doubles until the gateway objects again:
-- it swings between the half of what the gateway takes and all of it, whatever that is. `least`
-- because 0.5 to a high power is an error, not zero.
create or replace function private.slowdown(
    p_seconds double precision, p_until timestamptz, p_now timestamptz
)
returns double precision
language sql
immutable
set search_path = ''
as $$
    select case when worn.seconds > 0.01 then worn.seconds end
    from (
        select extract(epoch from p_now - p_until)::double precision / 10 as halvings
    ) as since
    cross join lateral (
        select p_seconds * power(0.5, least(60, greatest(0, since.halvings))) as seconds
    ) as worn
$$;

-- Whether the operator has given the session of this name to another owner's connection.
create or replace function private.is_session_of_another(
    p_connection_id text, p_gateway text, p_default text
)
returns boolean
language sql
stable
set search_path = ''
set enable_seqscan = off
as $$
    select exists (
        select 1 from public.connection_settings as other
        where other.sender = p_connection_id
            and other.connection_id <> p_connection_id
            and coalesce(other.gateway, p_default) = p_gateway
            and coalesce(
                private.owner_by_id(other.connection_id),
                (
                    select w.owner_id from private.connection_owners as w
                    where w.connection_id = other.connection_id
                )
            ) is distinct from private.owner_by_id(p_connection_id)
    )
$$;
revoke all on function private.is_session_of_another from public;
grant execute on function private.is_session_of_another to service_role;

-- The settings and the state of connections at an instant, with the defaults. A blocked one says
-- why, and until when. `closes_at`: the end of the day where days are counted, or of the sending
-- hours. `step`: seconds between messages; null where nothing spaces them. It is a little longer
-- than it need be, by `stretch`: what is dialled on its slot may then arrive later by up to 3 % of
-- a period, and no window of a period ever holds too many. `tolerance`: how late it may be dialled;
-- the rest of the 3 % is the network's.
create or replace function private.situation(
    p_connections text[], p_now timestamptz, p_gateway text
)
returns table (
    connection_id text,
    gateway text,
    blocked_reason text,
    blocked_until timestamptz,
    fails boolean,
    today date,
    used integer,
    daily_limit integer,
    closes_at timestamptz,
    arrival_at timestamptz,
    step double precision,
    slack double precision,
    jitter double precision,
    tolerance double precision,
    recipient_step double precision,
    turn_reason text,
    is_on_trial boolean,
    one_at_a_time boolean,
    hands_over boolean
)
language sql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    select
        state.connection_id,
        known.gateway,
        case block.kind
            when 'off' then 'this connection is switched off'
            when 'held' then 'this connection has an id that was another account''s; '
                || 'the operator can release it'
            when 'unnamed' then 'nobody has confirmed which session is this connection''s; '
                || 'the operator can name it'
            when 'paused' then 'the connection is paused: ' || state.paused_reason
            when 'disconnected' then 'the WhatsApp connection is not connected'
            when 'closed' then 'outside the sending hours '
                || to_char(settings.window_start, 'HH24:MI') || ' to '
                || to_char(settings.window_end, 'HH24:MI')
            when 'limit' then 'the daily limit of ' || known.daily_limit || ' messages is reached'
        end as blocked_reason,
        case
            when block.kind in ('off', 'held', 'unnamed', 'disconnected') then 'infinity'
            when block.kind = 'paused' then coalesce(state.probe_at, 'infinity')
            when block.kind = 'closed' then calendar.opens_at
            when block.kind = 'limit' then calendar.reopens_at
        end as blocked_until,
        coalesce(block.kind = 'limit' and settings.at_daily_limit = 'fail', false) as fails,
        day.today,
        known.used,
        known.daily_limit,
        least(
            case when settings.daily_limit is not null then calendar.tomorrow end,
            case when settings.window_start is not null then calendar.closes_at end
        ) as closes_at,
        state.arrival_at,
        known.step,
        coalesce(rate.burst - 1, 0) * known.step as slack,
        coalesce(settings.jitter_seconds, 0) as jitter,
        rate.period_seconds * share.tolerance as tolerance,
        coalesce(
            nullif(
                coalesce(settings.recipient_interval_seconds, kind.pair_seconds), 0
            ) * share.stretch,
            case when state.recipients_until > p_now then 0 end
        ) as recipient_step,
        'its turn: ' || coalesce(
            'at most ' || rate.messages || ' in ' || rate.period_seconds || ' s',
            'the gateway has asked to slow down'
        ) as turn_reason,
        state.is_on_trial,
        kind.one_at_a_time,
        kind.hands_over
    from private.connection_state as state
    cross join (select 1.03 as stretch, 0.02 as tolerance) as share
    left join public.connection_settings as settings
        on settings.connection_id = any(array[state.connection_id])
    left join private.gateways as kind
        on kind.name = any(array[coalesce(settings.gateway, p_gateway)])
    left join private.connection_owners as owner
        on owner.connection_id = any(array[state.connection_id])
    -- Upstream's table need not have the column: where it does not, the name is found one level up.
    -- Not by to_jsonb of the row, which may hold a picture of many megabytes.
    left join lateral (
        select (
            select connected::text from public.connections as c
            where c.id::text = any(array[state.connection_id])
        ) as connected
        from (values (null::text)) as missing (connected)
    ) as phone on true
    -- Its day and its hours, where anything depends on them.
    left join lateral (
        select c.* from private.calendar(
            coalesce(settings.timezone, 'UTC'), settings.window_start, settings.window_end, p_now
        ) as c
        where settings.daily_limit is not null or settings.window_start is not null
        offset 0
    ) as calendar on true
    cross join lateral (
        select (p_now at time zone coalesce(settings.timezone, 'UTC'))::date as today
    ) as day
    -- Its own rate, or its gateway's.
    cross join lateral (
        select
            coalesce(settings.messages, kind.messages) as messages,
            coalesce(settings.period_seconds, kind.period_seconds) as period_seconds,
            case when settings.messages is null then kind.burst else settings.burst end as burst
        offset 0
    ) as rate
    cross join lateral (
        select
            coalesce(settings.gateway, p_gateway) as gateway,
            case when state.day = day.today then state.sent_today else 0 end as used,
            case
                when settings.daily_limit is not null
                then private.daily_limit(settings, day.today)
            end as daily_limit,
            greatest(
                rate.period_seconds / (rate.messages - rate.burst + 1) * share.stretch,
                case
                    when state.throttled_until is not null
                    then private.slowdown(state.throttle_seconds, state.throttled_until, p_now)
                end
            ) as step
        offset 0
    ) as known
    -- The first thing that stands in its way.
    cross join lateral (
        select case
            when not (settings.enabled and settings.active) then 'off'
            when owner.is_held then 'held'
            when settings.sender is null
                and kind.one_at_a_time
                and (
                    owner.is_chosen
                    or private.is_session_of_another(
                        state.connection_id, known.gateway, p_gateway
                    )
                )
                then 'unnamed'
            when state.paused_reason is not null and not state.is_on_trial then 'paused'
            -- A boolean, a number or a word.
            when lower(phone.connected) in ('false', 'f', 'no', 'off', '0') then 'disconnected'
            when not calendar.is_open then 'closed'
            when known.used >= known.daily_limit then 'limit'
        end as kind
        offset 0
    ) as block
    where state.connection_id = any(p_connections)
$$;

-- The same with slots: the next message is due at `first_at`, each further one `step` later, each
-- may go `slack` before it is due but not before `earliest`, and `slots` may be claimed now (null:
-- any number). `look_at`: when to come back for more.
--   * A claim reaches whoever asked for it p_call_seconds late. So no slot is given that would be
--     missed by then; slots are given for `reach`, a third of a second, after it, and the
--     connection is looked at again `early` before the next slot can be given. So the rate of a
--     fast one depends neither on polling nor on how far away the database is.
--   * No slot lies beyond `closes_at`: what counts today goes out today.
--   * What the Node worker was given and has not finished takes up room: ten at least, or a burst
--     and what goes in nine seconds; where there is none the connection is looked at again after
--     five seconds. What it was given ten minutes ago does not count, because it may have died with
--     it.
create or replace function private.pace(
    p_connections text[], p_now timestamptz, p_gateway text, p_call_seconds double precision
)
returns table (
    connection_id text,
    gateway text,
    blocked_reason text,
    blocked_until timestamptz,
    fails boolean,
    turn_reason text,
    today date,
    used integer,
    closes_at timestamptz,
    horizon timestamptz,
    earliest timestamptz,
    first_at timestamptz,
    step double precision,
    slack double precision,
    jitter double precision,
    tolerance double precision,
    recipient_step double precision,
    slots integer,
    look_at timestamptz,
    is_on_trial boolean,
    one_at_a_time boolean
)
language sql
stable
set search_path = ''
as $$
    select
        found.connection_id,
        found.gateway,
        found.blocked_reason,
        found.blocked_until,
        found.fails,
        case when found.step is not null then found.turn_reason end as turn_reason,
        found.today,
        found.used,
        found.closes_at,
        next_slot.horizon,
        next_slot.earliest,
        next_slot.first_at,
        found.step,
        found.slack,
        found.jitter,
        found.tolerance,
        found.recipient_step,
        least(
            found.daily_limit - found.used,
            case when found.is_on_trial then 1 end,
            room.free,
            case
                when found.step is null then null
                when next_slot.earliest >= next_slot.horizon then 0
                else greatest(0, ceil(extract(
                    epoch from next_slot.horizon - next_slot.first_at
                        + make_interval(secs => found.slack)
                )::double precision / found.step))
            end
        )::integer as slots,
        case
            when greatest(
                next_slot.earliest, next_slot.first_at - make_interval(secs => found.slack)
            ) >= found.closes_at then found.closes_at
            when room.free = 0 then p_now + interval '5 seconds'
            else next_slot.first_at
                - make_interval(secs => found.slack + p_call_seconds + seconds.early)
        end as look_at,
        found.is_on_trial,
        found.one_at_a_time
    from private.situation(p_connections, p_now, p_gateway) as found
    cross join (select 0.35 as reach, 0.15 as early) as seconds
    cross join lateral (
        select
            least(
                p_now + make_interval(secs => p_call_seconds + seconds.reach), found.closes_at
            ) as horizon,
            soonest.at as earliest,
            greatest(found.arrival_at, soonest.at) as first_at
        from (
            select p_now
                + make_interval(secs => greatest(0, p_call_seconds - found.tolerance)) as at
        ) as soonest
    ) as next_slot
    left join lateral (
        select greatest(
            0, greatest(10, floor((9 + found.slack) / found.step)) - count(*)
        ) as free
        from public.broadcast_jobs as job
        where job.connection_id = found.connection_id
            and job.status in ('handed_over', 'active')
            and job.scheduled_message_id is not null
            and job.send_at > p_now - interval '10 minutes'
        having found.hands_over
    ) as room on true
$$;
revoke all on function private.slowdown, private.situation, private.pace from public;
grant execute on function private.slowdown, private.situation, private.pace to service_role;
