-- Writes down what the gateway said. A job is settled only by the token of its last claim, and once; returned are those whose
-- token it is not: they were fenced out. It says the same when the caller asks again because the first reply was lost, unless a
-- job has been claimed again meanwhile. An answer after the lease still settles what became `unconfirmed`.
-- p_outcomes: sent | failed | unconfirmed | retry | locked_recipient | throttled_recipient | throttled_connection | stopped |
-- released | handed_over. p_waits: seconds until a retry, or until a hand-over is added again. p_ages: seconds since the gateway
-- answered. p_parts: for a message of several, as JSON {of: how many, ids: of those that went out, in order}, else null.
-- The four before `handed_over` cost no attempt; `released` was never dialled. `stopped` pauses the connection until a probe
-- succeeds, which then judges the message too (finish_probes); `throttled_connection` slows it down, and so does
-- `locked_recipient`, which fails at once where the message may not go out as late as p_waits asks.
-- What is in doubt on its way to the Node worker's queue is handed over: adding it again is harmless. That worker may have
-- begun, or even finished, before we write that it has the job; then there is nothing left to write.
-- One outcome; the fields are the arguments. `quietly`: the scheduled row is not told why its job waits.
drop type if exists private.told_row cascade;
create type private.told_row as (
    job_id uuid, token uuid, outcome text, message_id text, error text, wait double precision, answered_at timestamptz, quietly boolean,
    parts jsonb
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
    with given as (
        select * from unnest(p_rows) as g order by g.job_id -- like record_deliveries: else the two could wait for each other
    ),
    -- Found by its key, whatever the statistics say of statuses.
    held as materialized (
        select g.job_id, g.token, g.message_id, g.wait, g.answered_at, g.quietly, g.parts, g.outcome as said, is_late, j.status, j.wanted,
            case when is_late then 'failed' else g.outcome end as outcome,
            case
                when is_late then regexp_replace(g.error, '^try .*? UTC: ', '') || '. By the time it might, it would be too late'
                else g.error
            end as error,
            case
                when is_late then 'failed'
                when g.outcome = 'unconfirmed' and private.hands_over(j.gateway) then 'handed_over'
                else g.outcome
            end as meaning
        from given as g
        cross join lateral (
            select w.status, w.lease_token, w.gateway, w.expires_at, case when g.outcome not in ('sent', 'failed', 'unconfirmed', 'handed_over') then exists (
                select 1 from public.scheduled_messages as s
                where s.id = w.scheduled_message_id and s.broadcast_job_id = w.id and s.status = 'processing'
            ) end as wanted
            from public.broadcast_jobs as w where w.id = g.job_id limit 1 for update
        ) as j
        cross join lateral (
            select g.outcome = 'locked_recipient'
                and coalesce(j.expires_at < now() + make_interval(secs => g.wait), false) as is_late
        ) as late
        where j.lease_token = g.token and (
            j.status in ('sending', 'unconfirmed')
            or (g.outcome in ('handed_over', 'unconfirmed') and j.status in ('handed_over', 'active', 'completed', 'failed') and private.hands_over(j.gateway))
        )
    ),
    -- What is unconfirmed never goes back to the queue, also when a late answer says that it could; nor does what was
    -- cancelled or deleted meanwhile.
    settled as (
        update public.broadcast_jobs as j
        set status = case
                when g.outcome = 'sent' then 'completed'
                when g.meaning in ('unconfirmed', 'handed_over') then g.meaning
                when g.outcome = 'failed' or j.status = 'unconfirmed' then 'failed'
                when not g.wanted then 'cancelled'
                else 'queued'
            end,
            -- Without a wait it keeps its place in the line.
            available_at = case
                when g.meaning = 'handed_over' then j.available_at
                -- One that costs no try must not be first again at once, for ever.
                when g.outcome in ('throttled_recipient', 'throttled_connection') then now() + make_interval(secs => greatest(1, g.wait))
                when g.wait > 0 then now() + make_interval(secs => g.wait)
                else j.available_at
            end,
            attempts = j.attempts - (g.outcome in ('throttled_recipient', 'throttled_connection', 'stopped', 'released'))::integer,
            throttled = j.throttled + (g.outcome = 'throttled_recipient')::integer,
            refusal = case when g.outcome = 'stopped' then left(g.error, 500) else j.refusal end,
            lease_until = case when g.meaning = 'handed_over' then now() + make_interval(secs => coalesce(g.wait, 0)) end,
            sent_count = (g.outcome = 'sent')::integer,
            failed_count = (g.outcome = 'failed')::integer,
            progress = case when g.outcome in ('sent', 'failed') then 100 else j.progress end,
            completed_at = case when g.outcome in ('sent', 'failed') then g.answered_at end,
            updated_at = now()
        from held as g
        where j.id = any(array[g.job_id])
            -- The worker may have said already that nobody knows.
            and (g.status = 'sending' or (g.status = 'unconfirmed' and g.meaning <> 'handed_over'))
        returning j.id, j.scheduled_message_id, j.connection_id, j.recipient, j.status, j.available_at, j.send_at,
            g.said, g.wait, g.outcome, g.message_id, g.error, g.answered_at, g.quietly, g.parts
    ),
    told as (
        update public.broadcast_messages as m
        set status = case d.status when 'completed' then 'sent' else d.status end,
            message_id = d.message_id, updated_at = now(),
            error = case
                when d.status = 'failed' and d.outcome <> 'failed' then 'Not sent, and not tried again, because the worker was held up for too long'
                    || coalesce(': ' || regexp_replace(d.error, '^try .*? UTC: ', ''), '.')
                else d.error
            end,
            sent_at = case when d.status = 'completed' then d.answered_at end
        from settled as d
        where m.job_id = any(array[d.id]) and d.status in ('completed', 'failed', 'unconfirmed', 'cancelled')
        returning m.job_id
    ),
    -- Somebody has deleted the message: then the row hears it itself.
    untold as (
        update public.scheduled_messages as s
        set status = case d.status when 'completed' then 'sent' else d.status end,
            message_id = coalesce(d.message_id, s.message_id),
            error = d.error,
            sent_at = case when d.status = 'completed' then d.answered_at end,
            updated_at = now()
        from settled as d
        where d.status in ('completed', 'failed', 'unconfirmed') and d.id not in (select t.job_id from told as t)
            and s.id = any(array[d.scheduled_message_id]) and s.broadcast_job_id = d.id
            and s.status in ('processing', 'unconfirmed')
    ),
    waits as (
        update public.scheduled_messages as s
        set error = case when d.outcome = 'retry' then left(d.error, 2000) end,
            waiting_reason = case when d.outcome <> 'retry' then left(d.error, 500) end,
            waiting_until = case when d.outcome <> 'retry' then d.available_at end,
            updated_at = now()
        from settled as d
        where d.error is not null and d.status = 'queued' and not d.quietly and s.id = any(array[d.scheduled_message_id]) and s.broadcast_job_id = d.id and s.status = 'processing'
    )
    select jsonb_agg(to_jsonb(d)), (
            select jsonb_agg(jsonb_build_object('job_id', s.id, 'outcome', s.outcome, 'error', s.error, 'parts', s.parts))
            from settled as s
            where jsonb_typeof(s.parts) = 'object' and s.status in ('completed', 'failed', 'unconfirmed')
        )
    into v_done, v_parted
    from (
        select s.connection_id, s.said as outcome, s.error, s.send_at, s.recipient, s.id,
            case s.said when 'locked_recipient' then now() + make_interval(secs => s.wait) else s.available_at end as available_at
        from settled as s
        -- Of what went out the connection is told only where it has been stopped since anything else did.
        -- And of what was handed over when its worker tells of it.
        where s.outcome not in ('sent', 'unconfirmed', 'handed_over') or (s.outcome <> 'handed_over' and exists (
            select from private.connection_state as c where c.connection_id = any(array[s.connection_id]) and c.resumed_at is not null
        ))
    ) as d;
    if v_parted is not null then
        perform private.answer_parts(v_parted);
    end if;
    return v_done;
end
$$;
revoke all on function private.record_rows from public;
grant execute on function private.record_rows to service_role;

-- What the answers say of their connections. One whose settings cannot be reckoned with, such as a zone that the server has
-- forgotten, is left as it is: that must not undo what became of anybody's message.
create or replace function private.note_or_leave(p_done jsonb)
returns void
language plpgsql
set search_path = ''
as $$
declare
    v_connection text;
begin
    if p_done = '[]' then
        return;
    end if;
    begin
        perform private.note_done(p_done);
    exception when others then
        if private.stops_everybody(sqlstate) then
            raise;
        end if;
        perform private.wait_less(sqlstate);
        for v_connection in
            select distinct d ->> 'connection_id' from jsonb_array_elements(p_done) as d order by 1
        loop
            begin
                perform private.note_done((
                    select jsonb_agg(d) from jsonb_array_elements(p_done) as d where d ->> 'connection_id' = v_connection
                ));
            exception when others then
                if private.stops_everybody(sqlstate) then
                    raise;
                end if;
                -- What somebody holds is noted later.
                perform private.put_aside(
                    'note', array[md5(v_connection || clock_timestamp())::uuid], array[sqlstate], array[left(sqlerrm, 500)], array[(
                        select jsonb_agg(d) from jsonb_array_elements(p_done) as d where d ->> 'connection_id' = v_connection
                    )], array[v_connection]
                )
                where sqlstate = '55P03';
            end;
        end loop;
    end;
end
$$;

create or replace function private.note_done(p_done jsonb)
returns void
language sql
set search_path = ''
as $$
    select private.note_outcomes(
        array_agg(d.connection_id), array_agg(d.outcome), array_agg(d.error), array_agg(d.available_at), array_agg(d.send_at),
        array_agg(d.recipient), array_agg(d.id)
    )
    from jsonb_to_recordset(p_done) as d (
        connection_id text, outcome text, error text, available_at timestamptz, send_at timestamptz, recipient text, id uuid
    )
$$;
revoke all on function private.note_or_leave, private.note_done from public;
grant execute on function private.note_or_leave, private.note_done to service_role;

-- The same for rows that the database may refuse. Such a job keeps its state; its outcome is put aside, and the rescue writes
-- it as soon as it can be. Returns what was refused: [{id, code, reason}], or null.
create or replace function private.record_or_put_aside(p_rows private.told_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_rows private.told_row[] := p_rows;
    v_done jsonb;
    v_more jsonb;
    v_refused jsonb;
begin
    select t.done, t.refused into v_done, v_refused from private.try_rows('record_rows', v_rows, false) as t;
    if v_refused <> '[]' then
        select array_agg(row(g.job_id, g.token, g.outcome, g.message_id, g.error, g.wait, g.answered_at, true,
            g.parts)::private.told_row)
        into v_rows
        from jsonb_to_recordset(v_refused) as r (place integer)
        cross join lateral (select (v_rows[r.place]).*) as g;
        select v_done || t.done, t.refused into v_done, v_refused from private.try_rows('record_rows', v_rows, false) as t;
    end if;
    if v_refused <> '[]' then
        perform private.put_aside('record', array_agg((v_rows[r.place]).job_id), array_agg(r.code), array_agg(r.reason),
            array_agg(to_jsonb(v_rows[r.place])))
        from jsonb_to_recordset(v_refused) as r (place integer, code text, reason text);
    end if;
    perform private.note_or_leave(v_done);
    return (
        select jsonb_agg(jsonb_build_object('id', (v_rows[r.place]).job_id, 'code', r.code, 'reason', r.reason))
        from jsonb_to_recordset(v_refused) as r (place integer, code text, reason text)
    );
end
$$;
revoke all on function private.record_or_put_aside from public;
grant execute on function private.record_or_put_aside to service_role;

create or replace function public.record_outcomes(
    p_job_ids uuid[], p_tokens uuid[], p_outcomes text[], p_message_ids text[], p_errors text[],
    p_waits double precision[], p_ages double precision[], p_parts text[] default null
)
returns table (fenced_out uuid[], refused jsonb)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    refused := private.record_or_put_aside(array(
        select row(
            g.job_id, g.token, g.outcome, g.message_id, g.error, g.wait, now() - make_interval(secs => coalesce(g.age, 0)), false,
            g.parts::jsonb
        )::private.told_row
        from unnest(p_job_ids, p_tokens, p_outcomes, p_message_ids, p_errors, p_waits, p_ages, p_parts)
            as g (job_id, token, outcome, message_id, error, wait, age, parts)
        order by g.job_id
    ));
    fenced_out := array(
        select g.job_id from unnest(p_job_ids, p_tokens) as g (job_id, token)
        left join lateral (select w.lease_token from public.broadcast_jobs as w where w.id = g.job_id limit 1) as j on true
        where j.lease_token is distinct from g.token
    );
    return next;
end
$$;
revoke all on function public.record_outcomes(uuid[], uuid[], text[], text[], text[], double precision[], double precision[], text[])
from public, anon, authenticated;
grant execute on function public.record_outcomes(uuid[], uuid[], text[], text[], text[], double precision[], double precision[], text[])
to service_role;
