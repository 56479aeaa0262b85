-- What a gateway's webhook tells of messages later on: sent < delivered < read; `failed` unless it
-- was already seen. Settles what is unconfirmed, or whose answer never came. Deliveries repeat and
-- come out of order. Word that it went out also ends one that waits for another try: the gateway's
-- fault was none, and a second copy must not follow.
drop type if exists private.delivery cascade;
create type private.delivery as (
    job_id uuid,
    message_id text,
    status text,
    error text,
    -- Of so many parts; null where the message has one.
    part integer,
    parts integer
);

-- What is told of parts of messages. What became of the other parts nobody knows; whatever is told
-- of them later settles it.
create or replace function private.deliver_parts(p_rows private.delivery[])
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    perform from public.broadcast_jobs as j
    where j.id = any(array(select given.job_id from unnest(p_rows) as given))
    order by j.id
    for update;

    update public.broadcast_messages as m
    set parts = private.with_words(m.parts, told.words)
    from (
        select
            given.job_id,
            jsonb_agg(to_jsonb(given) order by given.part) as words
        from unnest(p_rows) as given
        where given.part is not null
            and given.status in ('sent', 'delivered', 'read', 'failed')
        group by given.job_id
    ) as told
    where m.job_id = any(array[told.job_id]);

    -- A part of them went out, so they do not wait for another try.
    with waiting as (
        update public.broadcast_jobs as j
        set status = 'unconfirmed',
            updated_at = now()
        from (
            select distinct given.job_id
            from unnest(p_rows) as given
            where given.part is not null and given.status in ('sent', 'delivered', 'read')
        ) as out
        where j.id = any(array[out.job_id]) and j.status = 'queued'
        returning j.id
    )
    update public.broadcast_messages as m
    set status = 'unconfirmed',
        error = 'It may have been sent: WhatsApp told of a part of it while it waited for '
            || 'another try.',
        updated_at = now()
    from waiting
    where m.job_id = any(array[waiting.id]);
end
$$;
revoke all on function private.deliver_parts from public;
grant execute on function private.deliver_parts to service_role;

create or replace function private.deliver_rows(p_rows private.delivery[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    -- Of several words on one message the first of these counts; of what is told later, only what
    -- is further on.
    v_by_weight constant text[] := array['read', 'delivered', 'failed', 'sent'];
    v_by_order constant text[] := array['sent', 'failed', 'delivered', 'read'];
    v_parted constant uuid[] := array(
        select distinct given.job_id from unnest(p_rows) as given where given.part is not null
    );
    v_done jsonb;
begin
    if v_parted <> '{}' then
        perform private.deliver_parts(p_rows);
        perform private.settle_by_parts(v_parted);
    end if;

    -- What weighs most of what is told of each message.
    with told as materialized (
        select distinct on (given.job_id)
            given.job_id,
            given.message_id,
            given.status,
            given.error
        from unnest(p_rows) as given
        where given.part is null and given.status = any(v_by_order)
        order by given.job_id, array_position(v_by_weight, given.status)
    ),
    -- Of ours, with how far each job is.
    held as materialized (
        select
            told.*,
            job.status as job_status,
            job.scheduled_message_id
        from told
        cross join lateral (
            select j.status, j.scheduled_message_id
            from public.broadcast_jobs as j
            where j.id = told.job_id
            limit 1
            for update
        ) as job
    ),
    -- Of which nobody knew what became of them.
    settled as (
        update public.broadcast_jobs as j
        set status = case when held.status = 'failed' then 'failed' else 'completed' end,
            progress = 100,
            completed_at = now(),
            updated_at = now()
        from held
        where j.id = any(array[held.job_id])
            and (
                held.job_status in ('sending', 'unconfirmed')
                or (held.job_status = 'queued' and held.status <> 'failed')
            )
        returning j.id
    ),
    -- The messages, which tell their rows, where one is settled now.
    told_messages as (
        update public.broadcast_messages as m
        set delivery_status = held.status,
            status = case
                when settled.id is null then m.status
                when held.status = 'failed' then 'failed'
                else 'sent'
            end,
            message_id = coalesce(m.message_id, held.message_id),
            error = case
                when held.status = 'failed' then coalesce(held.error, 'WhatsApp gave no reason.')
            end,
            sent_at = case
                when settled.id is not null and held.status <> 'failed' then now()
                else m.sent_at
            end,
            updated_at = now()
        from held
        left join settled on settled.id = held.job_id
        where m.job_id = any(array[held.job_id])
            and coalesce(array_position(v_by_order, m.delivery_status), 0)
            < array_position(v_by_order, held.status)
    ),
    -- The rows of those that were settled before.
    told_rows as (
        update public.scheduled_messages as s
        set delivery_status = held.status,
            updated_at = now(),
            error = case
                when held.status = 'failed' then left(
                    'Accepted, but not delivered: '
                    || coalesce(held.error, 'WhatsApp gave no reason.'),
                    2000
                )
            end
        from held
        where s.id = any(array[held.scheduled_message_id])
            and s.broadcast_job_id = held.job_id
            and held.job_status = 'completed'
            and s.status = 'sent'
            and coalesce(array_position(v_by_order, s.delivery_status), 0)
            < array_position(v_by_order, held.status)
    )
    select jsonb_agg(held.job_id) into v_done
    from held;
    return coalesce(v_done, '[]') || to_jsonb(v_parted);
end
$$;
revoke all on function private.deliver_rows from public;
grant execute on function private.deliver_rows to service_role;

-- p_rows: a JSON array, each of its objects a private.delivery; what is null may be left out.
-- Returns the jobs that are ours, and what the database refused: [{id, code, reason}].
create or replace function public.record_deliveries(p_rows text)
returns table (recorded uuid[], refused jsonb)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
as $$
declare
    v_rows constant private.delivery[] := array(
        select told
        from json_populate_recordset(null::private.delivery, p_rows::json) as told
        order by told.job_id
    );
begin
    select
        array(select jsonb_array_elements_text(tried.done)::uuid),
        (
            select jsonb_agg(jsonb_build_object(
                'id', (v_rows[said.place]).job_id, 'code', said.code, 'reason', said.reason
            ))
            from jsonb_to_recordset(tried.refused) as said (place integer, code text, reason text)
        )
    into recorded, refused
    from private.try_rows('deliver_rows', v_rows, true) as tried;
    return next;
end
$$;
revoke all on function public.record_deliveries(text) from public, anon, authenticated;
grant execute on function public.record_deliveries(text) to service_role;
