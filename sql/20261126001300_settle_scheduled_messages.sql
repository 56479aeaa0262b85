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
begin
    update public.scheduled_messages as s
    set status = case n.status when 'sent' then 'sent' when 'unconfirmed' then 'unconfirmed' else 'failed' end,
        sent_at = case when n.status = 'sent' then coalesce(n.sent_at, now()) end,
        message_id = case when n.status = 'sent' then left(coalesce(n.message_id, n.message_ids[1], n.job_id::text), 512) end,
        error = case when n.status <> 'sent' then left(coalesce(nullif(n.error, ''), 'The sender gave no reason.'), 2000) end,
        delivery_status = coalesce(n.delivery_status, s.delivery_status),
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    from changed as n
    where s.id = any(array[n.scheduled_message_id])
        and n.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and s.broadcast_job_id = n.job_id
        -- Cancelled while it was being sent, it may have gone out: then that is what the row says.
        and (s.status in ('processing', 'unconfirmed') or (s.status = 'cancelled' and n.status in ('sent', 'unconfirmed')));
    return null;
end
$$;
revoke all on function private.settle_scheduled_messages() from public;

create or replace trigger settle_scheduled_messages after update on public.broadcast_messages
referencing new table as changed
for each statement execute function private.settle_scheduled_messages();

-- A Node worker that ends a job without a word on its message has said it all the same: upstream's ends so when it fails
-- before it sends; and somebody may cancel a job there.
create or replace function private.settle_job_of_node_worker()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    update public.broadcast_messages as m
    set status = case new.status when 'completed' then 'sent' else 'failed' end,
        error = case
            when new.status <> 'completed' then left(coalesce(nullif(new.error_message, ''), case new.status
                when 'failed' then 'The broadcast worker gave no reason.' else 'The broadcast worker cancelled it.'
            end), 2000)
        end,
        updated_at = now()
    where m.job_id = new.id and m.status = 'waiting';
    return null;
end
$$;
revoke all on function private.settle_job_of_node_worker() from public;

create or replace trigger settle_job_of_node_worker after update of status on public.broadcast_jobs
for each row when (new.gateway = 'bullmq' and old.status in ('sending', 'handed_over', 'active') and new.status in ('completed', 'failed', 'cancelled'))
execute function private.settle_job_of_node_worker();
