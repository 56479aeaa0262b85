-- Writes down what the gateway said. A job is settled only by the token of its last claim, and
-- once; returned are those whose token it is not: they were fenced out. It says the same when the
-- caller asks again because the first reply was lost, unless a job has been claimed again
-- meanwhile. An answer after the lease still settles what became `unconfirmed`.

-- One answer; up to `parts` the fields are what p_rows says of it.
--   * verdict: sent | failed | unconfirmed | retry | locked_recipient | throttled_recipient |
--     throttled_connection | stopped | released | handed_over. The four before `handed_over` cost
--     no attempt; `released` was never dialled. `stopped` pauses the connection until a probe
--     succeeds, which then judges the message too (finish_probes); `throttled_connection` slows it
--     down, and so does `locked_recipient`, which fails at once where the message may not go out as
--     late as `wait` asks. What is in doubt on its way to the Node worker's queue is handed over:
--     adding it again is harmless. That worker may have begun, or even finished, before we write
--     that it has the job; then there is nothing left to write.
--   * wait: seconds until a retry, or until a hand-over is added again.
--   * age: seconds since the gateway answered, at `told_at`.
--   * parts: for a message of several, as JSON {of: how many, ids: of those that went out, in
--     order}.
--   * quietly: the scheduled row is not told why its job waits.
drop type if exists private.told_row cascade;
create type private.told_row as (
    job_id uuid,
    token uuid,
    verdict text,
    message_id text,
    error text,
    wait double precision,
    age double precision,
    parts text,
    told_at timestamptz,
    quietly boolean
);

-- Returns what note_outcomes wants to know of those that did not go out.
create or replace function private.record_rows(p_rows private.told_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_done jsonb;
    v_parted jsonb;
begin
    -- In order, like record_deliveries: else the two could wait for each other.
    with given as (
        select * from unnest(p_rows) as g order by g.job_id
    ),
    -- The jobs that this is still the answer to, locked, each with what it means. `wanted`: whether
    -- its row still waits for it, where that matters.
    held as materialized (
        select
            given.job_id,
            given.token,
            given.message_id,
            given.wait,
            given.told_at - make_interval(secs => coalesce(given.age, 0)) as answered_at,
            given.quietly,
            given.parts::jsonb as parts,
            given.verdict as said,
            is_late,
            job.status,
            job.wanted,
            case when is_late then 'failed' else given.verdict end as verdict,
            case
                when is_late then regexp_replace(given.error, '^try .*? UTC: ', '')
                    || '. By the time it might, it would be too late'
                else given.error
            end as error,
            case
                when is_late then 'failed'
                when given.verdict = 'unconfirmed' and private.hands_over(job.gateway)
                    then 'handed_over'
                else given.verdict
            end as meaning
        from given
        cross join lateral (
            select
                j.status,
                j.lease_token,
                j.gateway,
                j.expires_at,
                case
                    when given.verdict not in ('sent', 'failed', 'unconfirmed', 'handed_over')
                    then exists (
                        select 1 from public.scheduled_messages as message
                        where message.id = any(array[j.scheduled_message_id])
                            and message.broadcast_job_id = j.id
                            and message.status = 'processing'
                    )
                end as wanted
            from public.broadcast_jobs as j
            where j.id = given.job_id
            limit 1
            for update
        ) as job
        cross join lateral (
            select given.verdict = 'locked_recipient' and coalesce(
                job.expires_at < now() + make_interval(secs => given.wait), false
            ) as is_late
        ) as late
        where job.lease_token = given.token
            and (
                job.status in ('sending', 'unconfirmed')
                or (
                    given.verdict in ('handed_over', 'unconfirmed')
                    and job.status in ('handed_over', 'active', 'completed', 'failed')
                    and private.hands_over(job.gateway)
                )
            )
    ),
    -- What is unconfirmed never goes back to the queue, also when a late answer says that it could;
    -- nor does what was cancelled or deleted meanwhile.
    settled as (
        update public.broadcast_jobs as job
        set status = case
                when held.verdict = 'sent' then 'completed'
                when held.meaning in ('unconfirmed', 'handed_over') then held.meaning
                when held.verdict = 'failed' or job.status = 'unconfirmed' then 'failed'
                when not held.wanted then 'cancelled'
                else 'queued'
            end,
            available_at = case
                when held.meaning = 'handed_over' then job.available_at
                -- One that costs no try must not be first again at once, for ever.
                when held.verdict in ('throttled_recipient', 'throttled_connection')
                    then now() + make_interval(secs => greatest(1, held.wait))
                when held.wait > 0 then now() + make_interval(secs => held.wait)
                -- Without a wait it keeps its place in the line.
                else job.available_at
            end,
            attempts = job.attempts - (held.verdict in (
                'throttled_recipient', 'throttled_connection', 'stopped', 'released'
            ))::integer,
            throttled = job.throttled + (held.verdict = 'throttled_recipient')::integer,
            refusal = case
                when held.verdict = 'stopped' then left(held.error, 500) else job.refusal
            end,
            lease_until = case
                when held.meaning = 'handed_over'
                then now() + make_interval(secs => coalesce(held.wait, 0))
            end,
            sent_count = (held.verdict = 'sent')::integer,
            failed_count = (held.verdict = 'failed')::integer,
            progress = case when held.verdict in ('sent', 'failed') then 100 else job.progress end,
            completed_at = case when held.verdict in ('sent', 'failed') then held.answered_at end,
            updated_at = now()
        from held
        where job.id = any(array[held.job_id])
            -- The worker may have said already that nobody knows.
            and (
                held.status = 'sending'
                or (held.status = 'unconfirmed' and held.meaning <> 'handed_over')
            )
        returning
            job.id,
            job.scheduled_message_id,
            job.connection_id,
            job.recipient,
            job.status,
            job.available_at,
            job.send_at,
            held.said,
            held.wait,
            held.verdict,
            held.message_id,
            held.error,
            held.answered_at,
            held.quietly,
            held.parts
    ),
    -- The rows of those that are over hear of it by their messages (settle_scheduled_messages).
    told as (
        update public.broadcast_messages as entry
        set status = case settled.status when 'completed' then 'sent' else settled.status end,
            message_id = settled.message_id,
            error = case
                when settled.status = 'failed' and settled.verdict <> 'failed'
                    then 'Not sent, and not tried again, because the worker was held up for too'
                        || ' long' || coalesce(
                            ': ' || regexp_replace(settled.error, '^try .*? UTC: ', ''), '.'
                        )
                else settled.error
            end,
            sent_at = case when settled.status = 'completed' then settled.answered_at end,
            updated_at = now()
        from settled
        where entry.job_id = any(array[settled.id])
            and settled.status in ('completed', 'failed', 'unconfirmed', 'cancelled')
        returning entry.job_id
    ),
    -- Somebody has deleted the message: then the row hears it itself.
    untold as (
        update public.scheduled_messages as message
        set status = case settled.status when 'completed' then 'sent' else settled.status end,
            message_id = coalesce(settled.message_id, message.message_id),
            error = settled.error,
            sent_at = case when settled.status = 'completed' then settled.answered_at end,
            updated_at = now()
        from settled
        where settled.status in ('completed', 'failed', 'unconfirmed')
            and settled.id not in (select told.job_id from told)
            and message.id = any(array[settled.scheduled_message_id])
            and message.broadcast_job_id = settled.id
            and message.status in ('processing', 'unconfirmed')
    ),
    -- The rows of those that wait again are told why.
    waits as (
        update public.scheduled_messages as message
        set error = case when settled.verdict = 'retry' then left(settled.error, 2000) end,
            waiting_reason = case when settled.verdict <> 'retry' then left(settled.error, 500) end,
            waiting_until = case when settled.verdict <> 'retry' then settled.available_at end,
            updated_at = now()
        from settled
        where settled.status = 'queued'
            and settled.error is not null
            and not settled.quietly
            and message.id = any(array[settled.scheduled_message_id])
            and message.broadcast_job_id = settled.id
            and message.status = 'processing'
    ),
    -- Of what went out the connection is told only where it has been stopped since anything else
    -- did; and of what was handed over when its worker tells of it.
    noted as (
        select
            settled.connection_id,
            settled.said as outcome,
            settled.error,
            settled.send_at,
            settled.recipient,
            settled.id,
            case settled.said
                when 'locked_recipient' then now() + make_interval(secs => settled.wait)
                else settled.available_at
            end as available_at
        from settled
        where settled.verdict not in ('sent', 'unconfirmed', 'handed_over')
            or (
                settled.verdict <> 'handed_over'
                and exists (
                    select from private.connection_state as state
                    where state.connection_id = any(array[settled.connection_id])
                        and state.resumed_at is not null
                )
            )
    ),
    parted as (
        select
            settled.id as job_id,
            settled.verdict as outcome,
            settled.error,
            settled.parts
        from settled
        where jsonb_typeof(settled.parts) = 'object'
            and settled.status in ('completed', 'failed', 'unconfirmed')
    )
    select
        (select jsonb_agg(to_jsonb(noted)) from noted),
        (select jsonb_agg(to_jsonb(parted)) from parted)
    into v_done, v_parted;
    if v_parted is not null then
        perform private.answer_parts(v_parted);
    end if;
    return v_done;
end
$$;

-- Records answers that the database may refuse. Such a job keeps its state; its answer is put
-- aside, and the rescue writes it as soon as it can be. Returns what was refused: [{id, code,
-- reason}], or null.
create or replace function private.record_or_put_aside(p_rows private.told_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_rows private.told_row[] := p_rows;
    v_done jsonb;
    v_refused jsonb;
begin
    select tried.done, tried.refused into v_done, v_refused
    from private.try_rows('record_rows', v_rows, false) as tried;
    if v_refused <> '[]' then
        -- Perhaps it is only what their rows would be told.
        v_rows := array(
            select jsonb_populate_record(v_rows[said.place], '{"quietly": true}')
            from jsonb_to_recordset(v_refused) as said (place integer)
        );
        select v_done || tried.done, tried.refused into v_done, v_refused
        from private.try_rows('record_rows', v_rows, false) as tried;
    end if;
    if v_refused <> '[]' then
        perform private.put_aside(
            'record', array_agg((v_rows[said.place]).job_id), array_agg(said.code),
            array_agg(said.reason), array_agg(to_jsonb(v_rows[said.place]))
        )
        from jsonb_to_recordset(v_refused) as said (place integer, code text, reason text);
    end if;
    perform private.note_or_leave(v_done);
    return (
        select jsonb_agg(jsonb_build_object(
            'id', (v_rows[said.place]).job_id, 'code', said.code, 'reason', said.reason
        ))
        from jsonb_to_recordset(v_refused) as said (place integer, code text, reason text)
    );
end
$$;
revoke all on function private.record_rows, private.record_or_put_aside from public;
grant execute on function private.record_rows, private.record_or_put_aside to service_role;

-- p_rows: a JSON array, each of its objects a private.told_row; what is null may be left out.
-- Waits for whoever holds a row no longer than a turn takes: the answers of all others wait in a
-- row behind it. `again_at` is when what was put aside is to be written. `db_now` is when it began,
-- and a claim says when it ended: so the daemon knows the clock from both sides, as closely as the
-- way there and back takes.
create or replace function public.record_outcomes(p_rows text)
returns table (
    fenced_out uuid[], refused jsonb, again_at timestamptz, db_now timestamptz
)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '20ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_defaults private.told_row;
    v_rows private.told_row[];
begin
    v_defaults.told_at := now();
    v_defaults.quietly := false;
    v_rows := array(
        select told
        from json_populate_recordset(v_defaults, p_rows::json) as told
        order by told.job_id
    );
    refused := private.record_or_put_aside(v_rows);
    fenced_out := array(
        select told.job_id
        from unnest(v_rows) as told
        left join lateral (
            select j.lease_token from public.broadcast_jobs as j where j.id = told.job_id limit 1
        ) as job on true
        where job.lease_token is distinct from told.token
    );
    again_at := (
        select min(aside.again_at)
        from private.refused_rows as aside
        where aside.step in ('record', 'settle', 'announce', 'note')
    );
    db_now := now();
    return next;
end
$$;
revoke all on function public.record_outcomes(text) from public, anon, authenticated;
grant execute on function public.record_outcomes(text) to service_role;
