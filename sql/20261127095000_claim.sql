-- The claim: whose turn it is (take_turn), what fails because of a daily limit, what goes out, as
-- private.pace allows (take_jobs), what the rest is told and when to look again (tell_waiting,
-- set_next_look). docs/adr/0006-pacing-in-the-database.md says why the limiter is here. The private
-- functions run as their caller, the service key.

-- Where a daily limit says `fail`, what waits beyond it fails; but what is written to many waits:
-- at a limit that does what was said for all of it, before it began.
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
        update public.broadcast_jobs as job
        set status = 'failed',
            completed_at = now(),
            updated_at = now()
        from unnest(p_rows) as beyond
        where job.id = any(array[beyond.id])
        returning job.id, beyond.reason
    )
    update public.broadcast_messages as entry
    set status = 'failed',
        error = 'Not sent: ' || failed.reason || '.',
        updated_at = now()
    from failed
    where entry.job_id = any(array[failed.id]);
    return '[]';
end
$$;

create or replace function private.fail_beyond_limit(
    p_turn text[], p_now timestamptz, p_gateway text
)
returns void
language plpgsql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_strict constant text[] := array(
        select settings.connection_id from public.connection_settings as settings
        where settings.connection_id = any(p_turn) and settings.at_daily_limit = 'fail'
    );
    v_rows private.beyond_limit_row[];
begin
    if v_strict = '{}' then
        return;
    end if;
    v_rows := array(
        select row(
            job.id, connection.connection_id, connection.blocked_reason
        )::private.beyond_limit_row
        from private.situation(v_strict, p_now, p_gateway) as connection
        cross join lateral (
            select j.id from public.broadcast_jobs as j
            where j.connection_id = connection.connection_id
                and j.priority = 0
                and j.status = 'queued'
                and j.scheduled_message_id is not null
                and j.available_at <= p_now
                and j.id <> all(array(
                    select r.id from private.refused_rows as r
                    where r.step = 'claim' and r.again_at > p_now
                ))
            order by j.available_at, j.id
            limit 1000
            for update skip locked
        ) as job
        where connection.fails
    );
    perform private.put_aside(
        'claim', array_agg((v_rows[said.place]).id), array_agg(said.code),
        array_agg(said.reason), null, array_agg((v_rows[said.place]).connection_id)
    )
    from private.try_rows('fail_rows', v_rows, false) as tried
    cross join lateral jsonb_to_recordset(tried.refused) as said (
        place integer, code text, reason text
    );
end
$$;

-- A turn, whole.
create or replace function private.have_turn(
    p_turn text[], p_seats integer, p_terms private.claim_terms
)
returns void
language plpgsql
set search_path = ''
as $$
begin
    perform private.fail_beyond_limit(p_turn, p_terms.at, p_terms.gateway);
    perform private.take_jobs(p_turn, p_seats, p_terms);
    perform private.set_next_look(
        array(select told from private.tell_waiting(p_turn, p_terms, false) as told), p_terms.at
    );
end
$$;

-- The same for one connection where something was refused: one job after the other, so that it is
-- known which cannot be taken; that is put aside. Rows that do not let themselves be told why they
-- wait are not told.
create or replace function private.have_turn_slowly(
    p_connection text, p_seats integer, p_terms private.claim_terms
)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_turn constant text[] := array[p_connection];
    v_job uuid;
    v_code text;
    v_reason text;
begin
    perform private.fail_beyond_limit(v_turn, p_terms.at, p_terms.gateway);
    for _ in 1..p_seats loop
        v_job := (select chosen.id from private.choose_jobs(v_turn, 1, p_terms) as chosen);
        exit when v_job is null;
        begin
            perform private.take_jobs(v_turn, 1, p_terms);
        exception when others then
            get stacked diagnostics v_code = returned_sqlstate, v_reason = message_text;
            if private.stops_everybody(v_code) then
                raise;
            end if;
            perform private.put_aside(
                'claim', array[v_job], array[v_code], array[left(v_reason, 500)], null, v_turn
            );
        end;
    end loop;
    begin
        perform private.set_next_look(
            array(select told from private.tell_waiting(v_turn, p_terms, false) as told), p_terms.at
        );
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.set_next_look(
            array(select told from private.tell_waiting(v_turn, p_terms, true) as told), p_terms.at
        );
    end;
end
$$;

-- Gives each its turn, whatever is refused of one of them. A connection that cannot be reckoned
-- with at all, such as one whose zone the server has forgotten, sleeps for a minute.
create or replace function private.have_turns(
    p_turn text[], p_seats integer, p_terms private.claim_terms
)
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
            update private.connection_state as state
            set ready_at = p_terms.at + interval '1 minute',
                waiting_until = p_terms.at + interval '1 minute',
                waiting_reason = 'the database refuses to reckon with this connection: '
                    || left(v_reason, 300)
            where state.connection_id = v_connection;
        end;
    end loop;
end
$$;
revoke all on function private.fail_rows, private.fail_beyond_limit, private.have_turn,
private.have_turn_slowly, private.have_turns from public;
grant execute on function private.fail_rows, private.fail_beyond_limit, private.have_turn,
private.have_turn_slowly, private.have_turns to service_role;

-- The jobs of a claim as the daemon gets them: a JSON array, null where there are none.
create or replace function private.claimed_jobs(p_token uuid)
returns json
language sql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select json_agg(claimed)
    from (
        select
            job.id,
            job.scheduled_message_id,
            job.connection_id,
            job.recipient,
            job.type,
            job.message,
            job.media_url,
            job.caption,
            job.media,
            job.asset_id,
            job.template,
            job.priority,
            -- For the metrics.
            (
                select message.source_id is not null
                from public.scheduled_messages as message
                where message.id = any(array[job.scheduled_message_id])
                limit 1
            ) as is_of_a_source,
            job.user_id as owner_id,
            job.attempts,
            job.throttled,
            coalesce(job.schedule, job.send_at) as scheduled_at,
            job.send_at,
            job.send_until,
            job.gateway,
            settings.sender,
            extract(epoch from job.lease_until - clock_timestamp()) as lease_left,
            case
                when job.gateway = any(array(
                    select kind.name from private.gateways as kind where kind.hands_over
                )) then private.api_key_of(job.connection_id)
            end as api_key
        from public.broadcast_jobs as job
        left join public.connection_settings as settings
            on settings.connection_id = any(array[job.connection_id])
        where job.lease_token = p_token and job.status = 'sending'
        order by job.send_at, job.priority, job.schedule, job.id
    ) as claimed
$$;
revoke all on function private.claimed_jobs from public;
grant execute on function private.claimed_jobs to service_role;

-- Takes up to p_seats waiting jobs, as many of each connection as it may send now, and marks them
-- `sending`, in one step: what is claimed is dialled on its slot, between `send_at` and
-- `send_until`, so there is no state between. The same token asked twice gives the same jobs: a
-- reply that was lost can be asked for again.
-- p_busy: connections, and payers, that have enough of the caller's seats. p_call_seconds: how long
-- its claims take to reach it, of late; p_early_seconds: see choose_jobs. The last two are
-- remembered with what goes to the Node worker.
-- One row comes back: the jobs, null where there are none, and when the next claim may find
-- something.
create or replace function public.claim_broadcast_jobs(
    p_token uuid,
    p_seats integer,
    p_lease_seconds double precision,
    p_gateway text default 'mock',
    p_busy text[] default '{}',
    p_now timestamptz default null,
    p_call_seconds double precision default 0,
    p_early_seconds double precision default 0,
    p_retry_attempts integer default 3,
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
    v_call_seconds constant double precision := greatest(0.15, least(10, p_call_seconds));
    v_early constant interval := make_interval(secs => least(1, p_early_seconds));
    v_turn text[];
    v_now timestamptz;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_token::text, 0));
    if v_seats > 0 and not exists (
        select 1 from public.broadcast_jobs as job
        where job.lease_token = p_token and job.status = 'sending'
    ) then
        v_turn := private.take_turn(v_seats, p_busy, coalesce(p_now, now()) + v_early);
    end if;
    if v_turn is not null then
        v_now := coalesce(p_now, clock_timestamp()); -- it may have waited for its turn
        perform private.have_turns(v_turn, v_seats, row(
            p_token, p_lease_seconds, p_gateway, v_now, v_call_seconds, v_early, p_retry_attempts,
            p_retry_delay_seconds
        )::private.claim_terms);
    end if;

    jobs := private.claimed_jobs(p_token);
    db_now := clock_timestamp();
    next_ready_at := (
        select min(state.ready_at) from private.connection_state as state
        where state.connection_id <> all(p_busy) and state.payer <> all(p_busy)
    );
    return next;
end
$$;
revoke all on function public.claim_broadcast_jobs(
    uuid, integer, double precision, text, text[], timestamptz, double precision, double precision,
    integer, double precision
) from public, anon, authenticated;
grant execute on function public.claim_broadcast_jobs(
    uuid, integer, double precision, text, text[], timestamptz, double precision, double precision,
    integer, double precision
) to service_role;
