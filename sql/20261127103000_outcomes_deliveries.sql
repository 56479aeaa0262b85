-- What a gateway's webhook tells of messages later on: sent < delivered < read; `failed` unless it was already seen. Settles
-- what is unconfirmed, or whose answer never came. Deliveries repeat and come out of order. Word that it went out also ends one
-- that waits for another try: the gateway's fault was none, and a second copy must not follow.
drop type if exists private.delivery cascade;
-- part: of so many parts, null where the message has one.
create type private.delivery as (job_id uuid, message_id text, status text, error text, part integer, parts integer);

create or replace function private.deliver_rows(p_rows private.delivery[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_done jsonb;
    v_parted uuid[] := array(select distinct g.job_id from unnest(p_rows) as g where g.part is not null);
begin
    if v_parted <> '{}' then
        perform from public.broadcast_jobs as j
        where j.id = any(array(select g.job_id from unnest(p_rows) as g)) order by j.id for update;
        update public.broadcast_messages as m
        set parts = private.with_words(m.parts, w.words)
        from (
            select g.job_id, jsonb_agg(to_jsonb(g) order by g.part) as words from unnest(p_rows) as g
            where g.part is not null and g.status in ('sent', 'delivered', 'read', 'failed') group by g.job_id
        ) as w
        where m.job_id = any(array[w.job_id]);
        -- What became of its other parts nobody knows; whatever is told of them later settles it.
        with waiting as (
            update public.broadcast_jobs as j
            set status = 'unconfirmed', updated_at = now()
            from (
                select distinct g.job_id from unnest(p_rows) as g
                where g.part is not null and g.status in ('sent', 'delivered', 'read')
            ) as out
            where j.id = any(array[out.job_id]) and j.status = 'queued'
            returning j.id
        )
        update public.broadcast_messages as m
        set status = 'unconfirmed',
            error = 'It may have been sent: WhatsApp told of a part of it while it waited for another try.',
            updated_at = now()
        from waiting as w
        where m.job_id = any(array[w.id]);
        perform private.settle_by_parts(v_parted);
    end if;
    with given as materialized (
        select distinct on (g.job_id) g.job_id, g.message_id, g.status, g.error
        from unnest(p_rows) as g
        where g.part is null and g.status in ('sent', 'delivered', 'read', 'failed')
        order by g.job_id, array_position(array['read', 'delivered', 'failed', 'sent'], g.status)
    ),
    held as materialized (
        select g.*, j.status as job_status, j.scheduled_message_id
        from given as g
        cross join lateral (select w.status, w.scheduled_message_id from public.broadcast_jobs as w where w.id = g.job_id limit 1 for update) as j
    ),
    settled as (
        update public.broadcast_jobs as j
        set status = case when h.status = 'failed' then 'failed' else 'completed' end, progress = 100, completed_at = now(), updated_at = now()
        from held as h
        where j.id = any(array[h.job_id])
            and (h.job_status in ('sending', 'unconfirmed') or (h.job_status = 'queued' and h.status <> 'failed'))
        returning j.id
    ),
    told as (
        update public.broadcast_messages as m
        set delivery_status = h.status,
            status = case when d.id is null then m.status when h.status = 'failed' then 'failed' else 'sent' end,
            message_id = coalesce(m.message_id, h.message_id),
            error = case when h.status = 'failed' then coalesce(h.error, 'WhatsApp gave no reason.') end,
            sent_at = case when d.id is not null and h.status <> 'failed' then now() else m.sent_at end,
            updated_at = now()
        from held as h
        left join settled as d on d.id = h.job_id
        where m.job_id = any(array[h.job_id])
            and coalesce(array_position(array['sent', 'failed', 'delivered', 'read'], m.delivery_status), 0)
            < array_position(array['sent', 'failed', 'delivered', 'read'], h.status)
    ),
    shown as (
        update public.scheduled_messages as s
        set delivery_status = h.status, updated_at = now(),
            error = case when h.status = 'failed' then left('Accepted, but not delivered: ' || coalesce(h.error, 'WhatsApp gave no reason.'), 2000) end
        from held as h
        where s.id = any(array[h.scheduled_message_id]) and s.broadcast_job_id = h.job_id and h.job_status = 'completed' and s.status = 'sent'
            and coalesce(array_position(array['sent', 'failed', 'delivered', 'read'], s.delivery_status), 0)
            < array_position(array['sent', 'failed', 'delivered', 'read'], h.status)
    )
    select jsonb_agg(h.job_id)
    into v_done
    from held as h;
    return coalesce(v_done, '[]') || to_jsonb(v_parted);
end
$$;
revoke all on function private.deliver_rows from public;
grant execute on function private.deliver_rows to service_role;

-- Returns the jobs that are ours, and what the database refused: [{id, code, reason}].
create or replace function public.record_deliveries(
    p_job_ids uuid[], p_message_ids text[], p_statuses text[], p_errors text[], p_part_numbers integer[] default null,
    p_part_counts integer[] default null
)
returns table (recorded uuid[], refused jsonb)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
as $$
declare
    v_rows constant private.delivery[] := array(
        select row(g.job_id, g.message_id, g.status, g.error, g.part, g.parts)::private.delivery
        from unnest(p_job_ids, p_message_ids, p_statuses, p_errors, p_part_numbers, p_part_counts)
            as g (job_id, message_id, status, error, part, parts)
        order by g.job_id
    );
begin
    select array(select jsonb_array_elements_text(t.done)::uuid), (
            select jsonb_agg(jsonb_build_object('id', (v_rows[r.place]).job_id, 'code', r.code, 'reason', r.reason))
            from jsonb_to_recordset(t.refused) as r (place integer, code text, reason text)
        )
    into recorded, refused
    from private.try_rows('deliver_rows', v_rows, true) as t;
    return next;
end
$$;
revoke all on function public.record_deliveries(uuid[], text[], text[], text[], integer[], integer[]) from public, anon, authenticated;
grant execute on function public.record_deliveries(uuid[], text[], text[], text[], integer[], integer[]) to service_role;
