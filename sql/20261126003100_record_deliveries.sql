-- What a gateway's webhook tells of messages later on: sent < delivered < read; `failed` unless it was already seen. Settles
-- what is unconfirmed, or whose answer never came. Deliveries repeat and come out of order.
create or replace function public.record_deliveries(p_job_ids uuid[], p_message_ids text[], p_statuses text[], p_errors text[])
returns setof uuid
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
as $$
begin
    return query
    with given as materialized (
        select distinct on (g.job_id) g.job_id, g.message_id, g.status, g.error
        from unnest(p_job_ids, p_message_ids, p_statuses, p_errors) as g (job_id, message_id, status, error)
        where g.status in ('sent', 'delivered', 'read', 'failed')
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
        where j.id = any(array[h.job_id]) and h.job_status in ('sending', 'unconfirmed')
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
    select h.job_id from held as h;
end
$$;
revoke all on function public.record_deliveries(uuid[], text[], text[], text[]) from public, anon, authenticated;
grant execute on function public.record_deliveries(uuid[], text[], text[], text[]) to service_role;
