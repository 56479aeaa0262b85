-- What the answers to messages say of their connections, one call for a batch of them; what went
-- out says something only where something was refused before.

-- An answer, as far as its connection hears of it. `available_at`: when the job, or its recipient,
-- may be tried again.
drop type if exists private.noted_row cascade;
create type private.noted_row as (
    connection_id text,
    outcome text,
    error text,
    available_at timestamptz,
    send_at timestamptz,
    recipient text,
    id uuid
);

-- One that got through after others had been refused shows that the connection is well, whatever
-- they met with. The one message that is tried while a connection is doubted settles it by getting
-- through, and by stopping it again; after any other answer the next is tried at once.
create or replace function private.note_who_got_through(p_rows private.noted_row[])
returns void
language sql
set search_path = ''
as $$
    update private.connection_state as state
    set through_at = case when heard.is_through then now() else state.through_at end,
        resumed_at = case when not heard.is_through then state.resumed_at end,
        refused_ids = case when heard.is_through then '{}' else state.refused_ids end,
        paused_reason = case
            when not (heard.is_through and heard.is_doubted) then state.paused_reason
        end,
        probe_at = case when not (heard.is_through and heard.is_doubted) then state.probe_at end,
        is_on_trial = heard.is_doubted and not heard.is_through and not heard.is_stopped,
        ready_at = least(state.ready_at, now())
    from (
        select
            known.connection_id,
            cardinality(known.refused_ids) > 1 as is_doubted,
            bool_or(noted.outcome = 'sent') as is_through,
            bool_or(noted.outcome = 'stopped') as is_stopped
        from unnest(p_rows) as noted
        join private.connection_state as known
            on known.connection_id = any(array[noted.connection_id])
            and noted.send_at >= known.resumed_at
        group by known.connection_id
    ) as heard
    where state.connection_id = any(array[heard.connection_id])
        and (heard.is_through or heard.is_doubted)
$$;

-- Those that did not go out no longer count for their day (if it is still that day). One that was
-- dialled since the last slowdown and still was too fast, or to a locked recipient, doubles it. One
-- that found the connection unusable pauses it, until a probe succeeds.
create or replace function private.note_who_did_not(p_rows private.noted_row[])
returns void
language sql
set search_path = ''
as $$
    update private.connection_state as state
    set sent_today = greatest(0, state.sent_today - heard.unsent),
        ready_at = least(state.ready_at, now()),
        arrival_at = greatest(
            -- Nobody dialled on the last slot that was booked, and none behind it is: it is free
            -- again.
            case
                when state.arrival_at < heard.unused_at + heard.two_steps
                then least(state.arrival_at, heard.unused_at)
                else state.arrival_at
            end,
            state.throttled_until,
            heard.throttled_until
        ),
        throttle_seconds = case
            when heard.is_slower then least(60, greatest(0.05, 2 * heard.step))
            else state.throttle_seconds
        end,
        throttled_until = greatest(state.throttled_until, heard.throttled_until),
        recipients_until = greatest(state.recipients_until, heard.recipients_until),
        paused_reason = coalesce(state.paused_reason, heard.stopped),
        probe_at = case
            when heard.pauses then now() + private.probe_delay(0)
            when heard.stopped is not null and cardinality(state.refused_ids) > 1
                then now() + private.probe_delay(state.failed_probes)
            else state.probe_at
        end,
        failed_probes = case when heard.pauses then 0 else state.failed_probes end,
        stopped_ids = state.stopped_ids || heard.stopped_ids,
        told_at = case when heard.stopped is not null then '-infinity' else state.told_at end,
        many_told_at = case
            when heard.stopped is not null then '-infinity' else state.many_told_at
        end
    from (
        select
            known.connection_id,
            count(*) filter (
                where (
                    noted.send_at at time zone coalesce(settings.timezone, 'UTC')
                )::date = known.day
            ) as unsent,
            greatest(
                max(greatest(noted.available_at, now()))
                    filter (where noted.outcome = 'throttled_connection'),
                max(now() + interval '10 seconds')
                    filter (where noted.outcome = 'locked_recipient')
            ) as throttled_until,
            max(noted.available_at)
                filter (where noted.outcome in ('throttled_recipient', 'locked_recipient'))
                as recipients_until,
            bool_or(
                noted.outcome in ('throttled_connection', 'locked_recipient')
                and (known.throttled_until is null or noted.send_at >= known.throttled_until)
            ) as is_slower,
            greatest(
                private.slowdown(known.throttle_seconds, known.throttled_until, now()),
                settings.period_seconds / settings.messages
            ) as step,
            max(noted.send_at) filter (where noted.outcome = 'released') as unused_at,
            case
                when settings.burst = 1
                    and settings.jitter_seconds < settings.period_seconds / settings.messages
                    then make_interval(secs => 2 * settings.period_seconds / settings.messages)
            end as two_steps,
            max(left(noted.error, 300)) filter (where noted.outcome = 'stopped') as stopped,
            bool_or(noted.outcome = 'stopped') and known.paused_reason is null as pauses,
            coalesce(
                array_agg(noted.id) filter (where noted.outcome = 'stopped'), '{}'
            ) as stopped_ids
        from unnest(p_rows) as noted
        join private.connection_state as known
            on known.connection_id = any(array[noted.connection_id])
        left join public.connection_settings as settings
            on settings.connection_id = any(array[noted.connection_id])
        where noted.outcome not in ('sent', 'unconfirmed', 'handed_over')
        group by known.connection_id, settings.connection_id
    ) as heard
    where state.connection_id = any(array[heard.connection_id])
$$;

-- A recipient who got too many, or whom WhatsApp locks, is left alone for a while. One whom nothing
-- reached is free, and what waited for that alone waits no longer.
create or replace function private.note_recipients(p_rows private.noted_row[])
returns void
language sql
set search_path = ''
as $$
    with free as (
        delete from private.recipient_state as known
        using unnest(p_rows) as noted
        where known.connection_id = any(array[noted.connection_id])
            and known.recipient = any(array[noted.recipient])
            and known.job_id = noted.id
            and noted.outcome not in ('sent', 'unconfirmed', 'handed_over')
        returning known.connection_id, known.recipient, known.free_at, noted.outcome
    )
    update public.broadcast_jobs as job
    set available_at = now(),
        updated_at = now()
    from free
    cross join lateral (
        select first.id
        from (values (0::smallint), (1::smallint)) as level (priority)
        cross join lateral (
            select j.id from public.broadcast_jobs as j
            where j.connection_id = free.connection_id
                and j.priority = level.priority
                and j.status = 'queued'
                and j.scheduled_message_id is not null
                and j.available_at > now()
                and j.available_at <= free.free_at
                and j.recipient = free.recipient
                and j.attempts = 0
            order by j.available_at, j.id
            limit 1
            for update skip locked
        ) as first
        limit 1
    ) as next_one
    where job.id = any(array[next_one.id]) and free.outcome = 'failed';

    insert into private.recipient_state as known (connection_id, recipient, free_at, reason)
    select
        noted.connection_id,
        noted.recipient,
        max(noted.available_at) as free_at,
        max(
            regexp_replace(noted.error, '^try .*? UTC: |\. By the time it might.*$', '', 'g')
        ) as reason
    from unnest(p_rows) as noted
    where noted.outcome in ('throttled_recipient', 'locked_recipient')
    group by noted.connection_id, noted.recipient
    on conflict (connection_id, recipient) do update
    set free_at = greatest(known.free_at, excluded.free_at),
        reason = excluded.reason,
        job_id = null
$$;

create or replace function private.note_outcomes(p_rows private.noted_row[])
returns void
language sql
set search_path = ''
as $$
    -- In order, like every writer of several of these rows: else two could wait for each other.
    select from private.connection_state as state
    where state.connection_id = any(array(select noted.connection_id from unnest(p_rows) as noted))
    order by state.connection_id
    for update;

    -- First, because what went out beside a message that was refused does not tell which of them
    -- was dialled later.
    select private.note_who_got_through(p_rows);
    select private.note_who_did_not(p_rows);
    -- After the connections, like a claim.
    select private.note_recipients(p_rows)
$$;

-- What the answers say of their connections: [private.noted_row]. One whose settings cannot be
-- reckoned with, such as a zone that the server has forgotten, is left as it is: that must not undo
-- what became of anybody's message.
create or replace function private.note_or_leave(p_done jsonb)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_connection text;
    v_rows private.noted_row[] := array(
        select noted from jsonb_populate_recordset(null::private.noted_row, p_done) as noted
    );
begin
    if v_rows = '{}' then
        return;
    end if;
    begin
        perform private.note_outcomes(v_rows);
        return;
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.wait_less(sqlstate);
    end;
    for v_connection, v_rows in
        select noted.connection_id, array_agg(noted)
        from jsonb_populate_recordset(null::private.noted_row, p_done) as noted
        group by 1
        order by 1
    loop
        begin
            perform private.note_outcomes(v_rows);
        exception when others then
            if private.stops_everybody(sqlstate) then
                raise;
            end if;
            -- What somebody holds is noted later.
            perform private.put_aside(
                'note', array[md5(v_connection || clock_timestamp())::uuid], array[sqlstate],
                array[left(sqlerrm, 500)], array[to_jsonb(v_rows)], array[v_connection]
            )
            where sqlstate = '55P03';
        end;
    end loop;
end
$$;
revoke all on function private.note_who_got_through, private.note_who_did_not,
private.note_recipients, private.note_outcomes, private.note_or_leave from public;
grant execute on function private.note_who_got_through, private.note_who_did_not,
private.note_recipients, private.note_outcomes, private.note_or_leave to service_role;
