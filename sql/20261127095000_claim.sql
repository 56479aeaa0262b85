-- The claim, in three steps: whose turn it is (take_turn), what goes out, as private.pace allows (take_jobs), what the rest
-- is told and when to look again (put_back). docs/adr/0006-pacing-in-the-database.md says why the limiter is here.

-- Where a daily limit says `fail`, what waits beyond it fails.
drop type if exists private.beyond_limit_row cascade;
create type private.beyond_limit_row as (id uuid, connection_id text, reason text);

create or replace function private.fail_rows(p_rows private.beyond_limit_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
begin
    with failed as (
        update public.broadcast_jobs as j
        set status = 'failed', completed_at = now(), updated_at = now()
        from unnest(p_rows) as beyond
        where j.id = any(array[beyond.id])
        returning j.id, beyond.reason
    )
    update public.broadcast_messages as m
    set status = 'failed', error = 'Not sent: ' || failed.reason || '.', updated_at = now()
    from failed
    where m.job_id = any(array[failed.id]);
    return '[]';
end
$$;

create or replace function private.fail_beyond_limit(p_turn text[], p_now timestamptz, p_gateway text)
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_strict constant text[] := array(
        select se.connection_id from public.connection_settings as se where se.connection_id = any(p_turn) and se.at_daily_limit = 'fail'
    );
    v_rows private.beyond_limit_row[];
begin
    if v_strict = '{}' then
        return;
    end if;
    v_rows := array(
        select row(w.id, p.connection_id, p.blocked_reason)::private.beyond_limit_row
        from private.situation(v_strict, p_now, p_gateway) as p
        cross join lateral (
            select q.id from public.broadcast_jobs as q
            where q.connection_id = p.connection_id and q.status = 'queued' and q.scheduled_message_id is not null and q.available_at <= p_now
                and q.id <> all(array(
                    select r.id from private.refused_rows as r where r.step = 'claim' and r.again_at > p_now
                ))
            order by q.available_at, q.id limit 1000 for update skip locked
        ) as w
        where p.fails
    );
    perform private.put_aside(
        'claim', array_agg((v_rows[r.place]).id), array_agg(r.code), array_agg(r.reason), null, array_agg((v_rows[r.place]).connection_id)
    )
    from private.try_rows('fail_rows', v_rows, false) as t
    cross join lateral jsonb_to_recordset(t.refused) as r (place integer, code text, reason text);
end
$$;

-- Tells the jobs that remain why they wait and until about when, a thousand at a time: all of them when the reason changes,
-- else those behind the last one that was told; nobody who waits less than a second. Then the connections go to the back of
-- the line, or to sleep: until the next job, the next slot, the end of the block.
create or replace function private.put_back(p_turn text[], p_now timestamptz, p_gateway text, p_lead double precision, p_quietly boolean)
returns void
language sql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    with paced as materialized (
        select p.*, coalesce(p.blocked_reason, p.turn_reason) as reason, greatest(10, 1000 / cardinality(p_turn)) as enough,
            case when news.is_new then '-infinity' else st.told_at end as told_at, st.told_id,
            case when not news.is_new then st.waiting_until end as told_until
        from private.pace(p_turn, p_now, p_gateway, p_lead) as p
        join private.connection_state as st on st.connection_id = any(array[p.connection_id])
        cross join lateral (
            select st.waiting_reason is distinct from coalesce(p.blocked_reason, p.turn_reason)
                or coalesce(st.waiting_until <> p.blocked_until, false) as is_new
        ) as news
    ),
    untold as materialized (
        select p.connection_id, p.reason, p.blocked_until, p.step is null or p.blocked_reason is not null as is_certain, job.*, row_number() over line as place, case
                when p.blocked_reason is not null then p.blocked_until
                else greatest(p.first_at, p.told_until + make_interval(secs => p.step)) + make_interval(secs => p.step * (row_number() over line - 1))
            end as until
        from paced as p
        cross join lateral (
            select j.id, j.scheduled_message_id, j.available_at from public.broadcast_jobs as j
            where j.connection_id = p.connection_id and j.status = 'queued' and j.scheduled_message_id is not null
                and (j.available_at, j.id) > (p.told_at, p.told_id)
            order by j.available_at, j.id limit p.enough
        ) as job
        window line as (partition by p.connection_id order by job.available_at, job.id)
    ),
    -- Not the rows that somebody is editing: they will have no job any more.
    told as (
        update public.scheduled_messages as s
        set waiting_reason = u.reason, waiting_until = u.until, updated_at = now()
        from (
            select m.id, u.reason, nullif(u.until, 'infinity') as until
            from untold as u
            -- Each by its key, whatever the statistics say of statuses.
            cross join lateral (
                select w.id from public.scheduled_messages as w
                where w.id = u.scheduled_message_id and w.broadcast_job_id = u.id and w.status = 'processing'
                    and (w.waiting_reason, w.waiting_until) is distinct from (u.reason, nullif(u.until, 'infinity'))
                    -- What waits for longer because of itself or its recipient says so.
                    and not (w.waiting_until >= u.available_at and u.available_at > greatest(p_now, u.blocked_until))
                limit 1 for no key update skip locked
            ) as m
            where not p_quietly and (u.is_certain or u.until > p_now + interval '1 second')
        ) as u
        where s.id = any(array[u.id])
    )
    update private.connection_state as st
    set waiting_reason = p.reason, waiting_until = coalesce(p.blocked_until, last.until, p.told_until),
        told_at = case when p.reason is not null or last.place = p.enough then coalesce(last.available_at, p.told_at) end,
        told_id = coalesce(last.id, p.told_id),
        turn_at = p_now,
        ready_at = case
            when last.place = p.enough then p_now
            when st.paused_reason is not null and not st.is_on_trial then 'infinity'
            else greatest(p_now, case when p.blocked_reason is null then p.look_at when not p.fails then p.blocked_until end, least(next_job.available_at, aside.again_at, 'infinity'))
        end
    from paced as p
    left join lateral (select u.* from untold as u where u.connection_id = p.connection_id order by u.place desc limit 1) as last on true
    left join lateral (
        select j.available_at from public.broadcast_jobs as j
        where j.connection_id = p.connection_id and j.status = 'queued' and j.scheduled_message_id is not null
            and (j.expires_at is null or j.expires_at > p_now)
            and j.id <> all(array(
                select r.id from private.refused_rows as r where r.step = 'claim' and r.again_at > p_now
            ))
        order by j.available_at limit 1
    ) as next_job on true
    left join lateral (
        select r.again_at from private.refused_rows as r
        where r.step = 'claim' and r.connection_id = p.connection_id and r.again_at > p_now order by r.again_at limit 1
    ) as aside on true
    where st.connection_id = any(array[p.connection_id])
$$;

-- What a claim is made with: the arguments of `claim_broadcast_jobs`, within their bounds.
drop type if exists private.claim_terms cascade;
create type private.claim_terms as (
    token uuid, lease_seconds double precision, gateway text, at timestamptz, lead double precision, ahead interval,
    retry_attempts integer, retry_delay_seconds double precision
);

-- A turn, whole.
create or replace function private.have_turn(p_turn text[], p_seats integer, p_terms private.claim_terms)
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform private.fail_beyond_limit(p_turn, p_terms.at, p_terms.gateway);
    perform private.take_jobs(
        p_turn, p_terms.token, p_seats, p_terms.lease_seconds, p_terms.gateway, p_terms.at, p_terms.lead, p_terms.ahead,
        p_terms.retry_attempts, p_terms.retry_delay_seconds
    );
    perform private.put_back(p_turn, p_terms.at, p_terms.gateway, p_terms.lead, false);
end
$$;

-- The same for one connection where something was refused: one job after the other, so that it is known which cannot be
-- taken; that is put aside. Rows that do not let themselves be told why they wait are not told.
create or replace function private.have_turn_slowly(p_connection text, p_seats integer, p_terms private.claim_terms)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_job uuid;
    v_code text;
    v_reason text;
begin
    perform private.fail_beyond_limit(array[p_connection], p_terms.at, p_terms.gateway);
    for _ in 1..p_seats loop
        select c.id into v_job
        from private.choose_jobs(array[p_connection], 1, p_terms.gateway, p_terms.at, p_terms.lead, p_terms.ahead) as c;
        exit when v_job is null;
        begin
            perform private.take_jobs(
                array[p_connection], p_terms.token, 1, p_terms.lease_seconds, p_terms.gateway, p_terms.at, p_terms.lead, p_terms.ahead,
                p_terms.retry_attempts, p_terms.retry_delay_seconds
            );
        exception when others then
            get stacked diagnostics v_code = returned_sqlstate, v_reason = message_text;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            perform private.put_aside('claim', array[v_job], array[v_code], array[left(v_reason, 500)], null, array[p_connection]);
        end;
    end loop;
    begin
        perform private.put_back(array[p_connection], p_terms.at, p_terms.gateway, p_terms.lead, false);
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.put_back(array[p_connection], p_terms.at, p_terms.gateway, p_terms.lead, true);
    end;
end
$$;

-- Gives each its turn, whatever is refused of one of them. A connection that cannot be reckoned with at all, such as one whose
-- zone the server has forgotten, sleeps for a minute.
create or replace function private.have_turns(p_turn text[], p_seats integer, p_terms private.claim_terms)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_share constant integer := ceil(p_seats::numeric / cardinality(p_turn));
    v_connection text;
    v_code text;
    v_reason text;
begin
    begin
        perform private.have_turn(p_turn, p_seats, p_terms);
        return;
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.wait_less(sqlstate);
    end;
    foreach v_connection in array p_turn loop
        begin
            perform private.have_turn(array[v_connection], v_share, p_terms);
            continue;
        exception when others then
            if private.stops_everybody(sqlstate) then
                raise;
            end if;
        end;
        begin
            perform private.have_turn_slowly(v_connection, v_share, p_terms);
        exception when others then
            get stacked diagnostics v_code = returned_sqlstate, v_reason = message_text;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            update private.connection_state as c
            set ready_at = p_terms.at + interval '1 minute', waiting_until = p_terms.at + interval '1 minute',
                waiting_reason = 'the database refuses to reckon with this connection: ' || left(v_reason, 300)
            where c.connection_id = v_connection;
        end;
    end loop;
end
$$;

-- Takes up to p_seats waiting jobs, as many of each connection as it may send now, and marks them `sending`, in one step:
-- what is claimed is dialled on its slot, between `send_at` and `send_until`, so there is no state between. The same token
-- asked twice gives the same jobs: a reply that was lost can be asked for again. p_busy: connections, and payers, that have enough of the
-- caller's seats. p_lead_seconds: how long its claims take to reach it, of late. p_ahead_seconds: see choose_jobs. The last two are
-- remembered with what goes to the Node worker. One row
-- comes back: the jobs, null where there are none, and when the next claim may find something.
create or replace function public.claim_broadcast_jobs(
    p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text default 'mock',
    p_busy text[] default '{}', p_now timestamptz default null, p_lead_seconds double precision default 0.15,
    p_ahead_seconds double precision default 0, p_retry_attempts integer default 3,
    p_retry_delay_seconds double precision default 60
)
returns table (db_now timestamptz, next_ready_at timestamptz, jobs json)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_seats constant integer := least(p_seats, 1000);
    v_lead constant double precision := greatest(0.15, least(10, p_lead_seconds));
    v_ahead constant interval := make_interval(secs => least(1, p_ahead_seconds));
    v_turn text[];
    v_now timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_token::text, 0));
    if v_seats > 0 and not exists (select 1 from public.broadcast_jobs as j where j.lease_token = p_token and j.status = 'sending') then
        v_turn := private.take_turn(v_seats, p_busy, coalesce(p_now, now()) + v_ahead);
    end if;
    if v_turn is not null then
        v_now := coalesce(p_now, clock_timestamp()); -- it may have waited for its turn
        perform private.have_turns(v_turn, v_seats, row(
            p_token, p_lease_seconds, p_gateway, v_now, v_lead, v_ahead, p_retry_attempts, p_retry_delay_seconds
        )::private.claim_terms);
    end if;

    return query
    select clock_timestamp(), (select min(c.ready_at) from private.connection_state as c where c.connection_id <> all(p_busy) and c.payer <> all(p_busy)),
        json_agg(claimed)
    from (
        select j.id, j.scheduled_message_id, j.connection_id, j.recipient, j.type, j.message, j.media_url, j.caption, j.media,
            j.asset_id, j.user_id as owner_id, j.attempts, j.throttled, coalesce(j.schedule, j.send_at) as scheduled_at, j.send_at, j.send_until, j.gateway, se.sender,
            extract(epoch from j.lease_until - clock_timestamp()) as lease_left,
            case
                when j.gateway = any(array(select g.name from private.gateways as g where g.hands_over)) then private.api_key_of(j.connection_id)
            end as api_key
        from public.broadcast_jobs as j
        left join public.connection_settings as se on se.connection_id = any(array[j.connection_id])
        where j.lease_token = p_token and j.status = 'sending'
        order by j.send_at, j.schedule, j.id
    ) as claimed;
end
$$;
revoke all on function public.claim_broadcast_jobs(
    uuid, integer, double precision, text, text[], timestamptz, double precision, double precision, integer, double precision
)
from public, anon, authenticated;
grant execute on function public.claim_broadcast_jobs(
    uuid, integer, double precision, text, text[], timestamptz, double precision, double precision, integer, double precision
)
to service_role;

-- The private ones run as their caller, the service key.
revoke all on function private.fail_rows, private.have_turn, private.have_turn_slowly,
private.have_turns, private.fail_beyond_limit, private.put_back from public;
grant execute on function private.fail_rows, private.have_turn, private.have_turn_slowly,
private.have_turns, private.fail_beyond_limit, private.put_back to service_role;
