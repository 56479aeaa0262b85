-- Marks what was chosen as `sending`, and takes note of it. It runs as its caller, the service key.
create or replace function private.take_jobs(
    p_turn text[], p_seats integer, p_terms private.claim_terms
)
returns void
language sql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
    with chosen as materialized (
        select * from private.choose_jobs(p_turn, p_seats, p_terms)
    ),
    sending as (
        update public.broadcast_jobs as job
        set status = 'sending',
            lease_token = p_terms.token,
            lease_until = now() + make_interval(secs => p_terms.lease_seconds),
            gateway = chosen.gateway,
            attempts = job.attempts + 1,
            send_at = chosen.send_at,
            send_until = chosen.send_until,
            retry_attempts = p_terms.retry_attempts,
            retry_delay_seconds = p_terms.retry_delay_seconds,
            updated_at = now()
        from chosen
        where job.id = any(array[chosen.id]) and chosen.put_off_until is null
    ),
    put_off as (
        update public.broadcast_jobs as job
        set available_at = chosen.put_off_until,
            updated_at = now()
        from chosen
        where job.id = any(array[chosen.id]) and chosen.put_off_until is not null
    ),
    -- The rows of those say why. Not the ones that somebody is editing: see tell_waiting.
    told as (
        update public.scheduled_messages as message
        set waiting_reason = left(
                coalesce(waiting.recipient_reason, 'its recipient got a message a moment ago'), 500
            ),
            waiting_until = waiting.put_off_until,
            updated_at = now()
        from (
            select
                free.id,
                chosen.put_off_until,
                chosen.recipient_reason
            from chosen
            cross join lateral (
                select m.id from public.scheduled_messages as m
                where m.id = chosen.scheduled_message_id
                    and m.broadcast_job_id = chosen.id
                    and m.status = 'processing'
                limit 1
                for no key update skip locked
            ) as free
            where chosen.put_off_until is not null
        ) as waiting
        where message.id = any(array[waiting.id])
    ),
    -- Whom each connection writes to now, where that spaces them.
    remembered as (
        insert into private.recipient_state as known (connection_id, recipient, free_at, job_id)
        select
            chosen.connection_id,
            chosen.recipient,
            chosen.send_at + make_interval(secs => chosen.recipient_step) as free_at,
            chosen.id as job_id
        from chosen
        where chosen.put_off_until is null and chosen.recipient_step > 0
        on conflict (connection_id, recipient) do update
        set free_at = excluded.free_at,
            job_id = excluded.job_id,
            reason = null
    ),
    taken as (
        select
            chosen.connection_id,
            chosen.today,
            chosen.used,
            chosen.step,
            chosen.jitter,
            count(*) as number,
            max(chosen.arrival_at) as last_at
        from chosen
        where chosen.put_off_until is null
        group by chosen.connection_id, chosen.today, chosen.used, chosen.step, chosen.jitter
    )
    update private.connection_state as state
    set day = taken.today,
        sent_today = taken.used + taken.number,
        arrival_at = coalesce(
            taken.last_at + make_interval(secs => taken.step + random() * taken.jitter),
            state.arrival_at
        ),
        is_on_trial = false,
        -- Whoever tries a message may die before it can tell.
        probe_at = case
            when state.is_on_trial then now() + make_interval(secs => p_terms.lease_seconds)
            else state.probe_at
        end
    from taken
    where state.connection_id = any(array[taken.connection_id]);

    -- More than were remembered, so that the table holds about the last minute's.
    delete from private.recipient_state as known
    where (known.connection_id, known.recipient) in (
        select old.connection_id, old.recipient from private.recipient_state as old
        where old.free_at < p_terms.at - interval '1 minute'
        order by old.free_at
        limit 2 * p_seats
        for update skip locked
    )
$$;
revoke all on function private.take_jobs from public;
grant execute on function private.take_jobs to service_role;
