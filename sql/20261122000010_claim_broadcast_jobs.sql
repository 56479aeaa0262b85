-- Takes up to p_seats waiting jobs and marks them `sending`, in one step: what is claimed is dialled at once, so there is
-- no state between. The same token asked twice gives the same jobs: a reply that was lost can be asked for again.
-- One row comes back: the jobs, null where there are none, and when the next claim may find something.
create or replace function public.claim_broadcast_jobs(
    p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text default null, p_now timestamptz default null
)
returns table (db_now timestamptz, next_ready_at timestamptz, jobs jsonb)
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
as $$
#variable_conflict use_column
declare
    v_now timestamptz := coalesce(p_now, now());
    v_seats integer := least(p_seats, 1000);
    v_turn text[];
begin
    perform pg_advisory_xact_lock(hashtextextended(p_token::text, 0));
    if not exists (select 1 from public.broadcast_jobs as j where j.lease_token = p_token and j.status = 'sending') and v_seats > 0 then
        -- Whose turn it is: the connections that have waited longest. Another daemon's are passed over ...
        select array_agg(turn.connection_id order by turn.ready_at) into v_turn
        from (
            select c.connection_id, c.ready_at from private.connection_state as c
            where c.ready_at <= v_now order by c.ready_at, c.connection_id limit v_seats for update skip locked
        ) as turn;
        -- ... unless nothing else is there: then its turn is over in a moment.
        if v_turn is null then
            select array_agg(turn.connection_id) into v_turn
            from (
                select c.connection_id from private.connection_state as c
                where c.ready_at <= v_now order by c.ready_at, c.connection_id limit 1 for update
            ) as turn;
        end if;

        with taken as materialized (
            select job.id
            from unnest(v_turn) as turn (connection_id)
            cross join lateral (
                select j.id from public.broadcast_jobs as j
                where j.connection_id = turn.connection_id and j.status = 'queued' and j.scheduled_message_id is not null and j.available_at <= v_now
                order by j.available_at, j.id
                limit ceil(v_seats::numeric / cardinality(v_turn))
                for update skip locked
            ) as job
            limit v_seats
        )
        update public.broadcast_jobs as j
        set status = 'sending', lease_token = p_token, lease_until = now() + make_interval(secs => p_lease_seconds),
            gateway = p_gateway, attempts = j.attempts + 1, send_at = v_now, updated_at = now()
        from taken
        where j.id = taken.id;

        -- To the back of the line, or to sleep until its next job.
        update private.connection_state as c
        set ready_at = greatest(coalesce(
            (
                select min(j.available_at) from public.broadcast_jobs as j
                where j.connection_id = c.connection_id and j.status = 'queued' and j.scheduled_message_id is not null
            ),
            'infinity'
        ), clock_timestamp())
        where c.connection_id = any(v_turn);
    end if;

    return query
    select clock_timestamp(), (select min(c.ready_at) from private.connection_state as c), jsonb_agg(to_jsonb(claimed))
    from (
        select j.id, j.scheduled_message_id, j.connection_id, j.recipient, j.type, j.message, j.media_url, j.caption, j.media,
            j.asset_id, j.user_id as owner_id, j.attempts, j.schedule as scheduled_at, j.send_at, c.api_key,
            extract(epoch from j.lease_until - clock_timestamp()) as lease_left
        from public.broadcast_jobs as j
        left join public.connections as c on c.id = j.connection_id
        where j.lease_token = p_token and j.status = 'sending'
        order by j.schedule, j.id
    ) as claimed;
end
$$;
revoke all on function public.claim_broadcast_jobs(uuid, integer, double precision, text, timestamptz) from public, anon, authenticated;
grant execute on function public.claim_broadcast_jobs(uuid, integer, double precision, text, timestamptz) to service_role;
