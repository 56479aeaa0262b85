-- What a claim takes. It runs as its caller, the service key.

-- Chooses and locks waiting jobs: of each connection its share of the seats, as far as it has slots. A phone's session
-- (WAHA and its like) takes one message at a time, so without slots it is given few. A job has either its slot or
-- `put_off_until`: whom its connection wrote to a moment ago has to wait, and so has the second message to the same recipient.
-- Where nothing spaces them, those that are due within p_ahead are given too, with their instants for slots.
create or replace function private.choose_jobs(p_turn text[], p_seats integer, p_gateway text, p_now timestamptz, p_lead double precision, p_ahead interval)
returns table (
    connection_id text, id uuid, scheduled_message_id uuid, recipient text, gateway text, put_off_until timestamptz, arrival_at timestamptz,
    send_at timestamptz, send_until timestamptz, step double precision, jitter double precision, recipient_step double precision,
    today date, used integer, recipient_reason text
)
language sql
volatile
rows 50
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    with turn as materialized (
        select * from private.pace(p_turn, p_now, p_gateway, p_lead) as p where p.blocked_reason is null
    ),
    candidate as materialized (
        select t.*, job.*
        from turn as t
        cross join lateral (
            select j.id, j.scheduled_message_id, j.recipient, j.available_at,
                octet_length(j.message) + coalesce(octet_length(j.caption), 0) + coalesce(octet_length(j.media::text), 0) as size
            from public.broadcast_jobs as j
            where j.connection_id = t.connection_id and j.status = 'queued' and j.scheduled_message_id is not null
                and j.available_at <= case when t.step is null then p_now + p_ahead else p_now end and (j.expires_at is null or j.expires_at > p_now)
                and j.id <> all(array(
                    select r.id from private.refused_rows as r where r.step = 'claim' and r.again_at > p_now
                ))
                -- What is tried to find out about the connection is one that nothing is held against, if there is one.
                and (not t.is_on_trial or j.refused_at is null or not exists (
                    select from public.broadcast_jobs as f
                    where f.connection_id = t.connection_id and f.status = 'queued' and f.scheduled_message_id is not null
                        and f.available_at <= p_now and f.refused_at is null
                        and f.id <> all(array(
                            select r.id from private.refused_rows as r where r.step = 'claim' and r.again_at > p_now
                        ))
                ))
            order by j.available_at, j.id
            limit case when t.slots = 0 then 0 when t.is_on_trial then 1 else least(
                ceil(p_seats::numeric / (select count(*) from turn)), case when t.recipient_step is null then t.slots end,
                case when t.step is null and t.one_at_a_time then 4 end
            ) end
            for update skip locked
        ) as job
        limit p_seats
    ),
    -- A thousand maximal messages would be more than a claim can carry.
    carried as (
        select c.*
        from (
            select c.*, sum(c.size) over (
                order by c.available_at, c.id rows between unbounded preceding and 1 preceding
            ) as size_before
            from candidate as c
        ) as c
        where coalesce(c.size_before, 0) < 8000000
    ),
    spaced as (
        select c.*, greatest(r.free_at, p_now) + make_interval(secs => c.recipient_step * (
            row_number() over (partition by c.connection_id, c.recipient order by c.available_at, c.id) - 1
        )) as free_at, case when r.free_at > p_now then r.reason end as recipient_reason
        from carried as c
        left join private.recipient_state as r
            on c.recipient_step is not null and r.connection_id = any(array[c.connection_id]) and r.recipient = any(array[c.recipient])
    ),
    slotted as (
        select s.*, row_number() over line as place, s.first_at + make_interval(secs => s.step * (row_number() over line - 1) + coalesce(
            sum(random() * s.jitter) over (line rows between unbounded preceding and 1 preceding), 0
        )) as arrival_at
        from spaced as s
        where s.recipient_step is null or s.free_at <= p_now
        window line as (partition by s.connection_id order by s.available_at, s.id)
    )
    select s.connection_id, s.id, s.scheduled_message_id, s.recipient, s.gateway, null, s.arrival_at, slot.at,
        least(slot.at + make_interval(secs => s.tolerance), s.closes_at), s.step, s.jitter, s.recipient_step, s.today, s.used, null
    from slotted as s
    cross join lateral (select greatest(s.earliest, s.arrival_at - make_interval(secs => s.slack), s.available_at) as at) as slot
    where (s.slots is null or s.place <= s.slots) and (s.step is null or slot.at < s.horizon) -- jitter may push it beyond
        and (s.closes_at is null or slot.at < s.closes_at)
    union all
    select s.connection_id, s.id, s.scheduled_message_id, s.recipient, s.gateway, s.free_at, null, null,
        null, s.step, s.jitter, s.recipient_step, s.today, s.used, s.recipient_reason
    from spaced as s
    where s.recipient_step is not null and s.free_at > p_now
$$;

-- Marks what was chosen as `sending`, and takes note of it.
create or replace function private.take_jobs(
    p_turn text[], p_token uuid, p_seats integer, p_lease_seconds double precision, p_gateway text, p_now timestamptz, p_lead double precision,
    p_ahead interval, p_retry_attempts integer, p_retry_delay_seconds double precision
)
returns void
language sql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    with chosen as materialized (
        select * from private.choose_jobs(p_turn, p_seats, p_gateway, p_now, p_lead, p_ahead)
    ),
    sending as (
        update public.broadcast_jobs as j
        set status = 'sending', lease_token = p_token, lease_until = now() + make_interval(secs => p_lease_seconds), gateway = c.gateway,
            attempts = j.attempts + 1, send_at = c.send_at, send_until = c.send_until, updated_at = now(),
            retry_attempts = p_retry_attempts,
            retry_delay_seconds = p_retry_delay_seconds
        from chosen as c
        where j.id = any(array[c.id]) and c.put_off_until is null
    ),
    put_off as (
        update public.broadcast_jobs as j
        set available_at = c.put_off_until, updated_at = now()
        from chosen as c
        where j.id = any(array[c.id]) and c.put_off_until is not null
    ),
    told as (
        update public.scheduled_messages as s
        set waiting_reason = left(coalesce(c.recipient_reason, 'its recipient got a message a moment ago'), 500), waiting_until = c.put_off_until, updated_at = now()
        from (
            select m.id, c.put_off_until, c.recipient_reason from chosen as c
            -- Each by its key, whatever the statistics say of statuses.
            cross join lateral (
                select w.id from public.scheduled_messages as w
                where w.id = c.scheduled_message_id and w.broadcast_job_id = c.id and w.status = 'processing'
                limit 1 for no key update skip locked
            ) as m
            where c.put_off_until is not null
        ) as c
        where s.id = any(array[c.id])
    ),
    remembered as (
        insert into private.recipient_state as r (connection_id, recipient, free_at, job_id)
        select c.connection_id, c.recipient, c.send_at + make_interval(secs => c.recipient_step), c.id
        from chosen as c
        where c.put_off_until is null and c.recipient_step > 0
        on conflict (connection_id, recipient) do update set free_at = excluded.free_at, job_id = excluded.job_id, reason = null
    )
    update private.connection_state as st
    set day = taken.today, sent_today = taken.used + taken.number,
        arrival_at = coalesce(taken.last_at + make_interval(secs => taken.step + random() * taken.jitter), st.arrival_at),
        -- Whoever tries a message may die before it can tell.
        is_on_trial = false, probe_at = case when st.is_on_trial then now() + make_interval(secs => p_lease_seconds) else st.probe_at end
    from (
        select c.connection_id, c.today, c.used, c.step, c.jitter, count(*) as number, max(c.arrival_at) as last_at
        from chosen as c
        where c.put_off_until is null
        group by c.connection_id, c.today, c.used, c.step, c.jitter
    ) as taken
    where st.connection_id = any(array[taken.connection_id]);

    -- More than were remembered, so that the table holds about the last minute's.
    delete from private.recipient_state as r
    where (r.connection_id, r.recipient) in (
        select o.connection_id, o.recipient from private.recipient_state as o
        where o.free_at < p_now - interval '1 minute' order by o.free_at limit 2 * p_seats for update skip locked
    )
$$;
revoke all on function private.choose_jobs, private.take_jobs from public;
grant execute on function private.choose_jobs, private.take_jobs to service_role;
