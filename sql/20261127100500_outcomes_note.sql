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
revoke all on function private.note_outcomes from public;
grant execute on function private.note_outcomes to service_role;
