-- Carries an outcome from broadcast_messages to the scheduled row, in the same transaction, whoever wrote it: our
-- dispatcher or a Node worker. Acts only on a row's current job; a row deleted or cancelled meanwhile is simply not there.
-- Definer, in a schema that the API does not expose, because the upstream worker writes as `anon`.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

create or replace function private.settle_scheduled_messages()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_heard uuid[];
begin
    -- What a Node worker calls failed may have gone out, or may be tried again (20261126001310).
    select array_agg(n.job_id) into v_heard
    from changed as n
    cross join lateral (select w.gateway, w.status from public.broadcast_jobs as w where w.id = n.job_id limit 1) as j
    where n.status in ('failed', 'skipped') and n.scheduled_message_id is not null
        and j.gateway = 'bullmq' and j.status not in ('queued', 'completed', 'failed', 'cancelled');
    if v_heard is not null then
        perform private.hear_node_worker(n.job_id, private.meaning_of(n.error), n.error)
        from changed as n where n.job_id = any (v_heard);
    end if;

    update public.scheduled_messages as s
    set status = case n.status when 'sent' then 'sent' when 'unconfirmed' then 'unconfirmed' else 'failed' end,
        sent_at = case when n.status = 'sent' then coalesce(n.sent_at, now()) end,
        -- As json, because upstream has had message_ids as text and as text[].
        message_id = case
            when n.status = 'sent' then left(coalesce(
                n.message_id, to_jsonb(n) #>> '{message_ids,0}', nullif(to_jsonb(n) ->> 'message_ids', '[]'), n.job_id::text
            ), 512)
        end,
        error = case when n.status <> 'sent' then left(coalesce(nullif(n.error, ''), 'The sender gave no reason.'), 2000) end,
        delivery_status = coalesce(n.delivery_status, s.delivery_status),
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    from changed as n
    where s.id = any(array[n.scheduled_message_id])
        and n.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and n.job_id <> all (coalesce(v_heard, '{}'))
        and s.broadcast_job_id = n.job_id
        -- Cancelled while it was being sent, it may have gone out: then that is what the row says.
        and (s.status in ('processing', 'unconfirmed', 'in_queue') or (s.status = 'cancelled' and n.status in ('sent', 'unconfirmed')));

    -- Marked by hand while its job still waited: then that must not be sent any more. Ours are never so.
    update public.scheduled_messages as s
    set status = 'cancelled', error = 'Not sent: its entry in broadcast_messages was cancelled by somebody.'
    from changed as n
    where n.status = 'cancelled' and s.id = any(array[n.scheduled_message_id])
        and s.broadcast_job_id = n.job_id and s.status = 'processing'
        and exists (select 1 from public.broadcast_jobs as j where j.id = n.job_id and j.status = 'queued');
    update public.broadcast_jobs as j
    set status = 'cancelled', completed_at = now(), updated_at = now()
    from changed as n
    where (n.status in ('failed', 'skipped', 'unconfirmed') or (n.status = 'sent' and n.message_id is null))
        and j.id = any(array[n.job_id]) and j.status = 'queued' and j.scheduled_message_id is not null;

    -- The Node worker gives no id. It ends its job only after a pause, in which it may be killed.
    update public.broadcast_jobs as j
    set status = 'completed', sent_count = 1, progress = 100, completed_at = now(), lease_until = null, updated_at = now()
    from changed as n
    where n.status = 'sent' and n.message_id is null and j.id = any(array[n.job_id]) and j.gateway = 'bullmq'
        and j.scheduled_message_id is not null and j.status not in ('queued', 'completed');
    return null;
end
$$;
revoke all on function private.settle_scheduled_messages() from public;

create or replace trigger settle_scheduled_messages after update on public.broadcast_messages
referencing new table as changed
for each statement execute function private.settle_scheduled_messages();
