-- Carries an outcome from broadcast_messages to the scheduled row, in the same transaction, whoever
-- wrote it: our dispatcher or a Node worker. Acts only on a row's current job; a row deleted or
-- cancelled meanwhile is simply not there. Definer, in a schema that the API does not expose,
-- because the upstream worker writes as `anon`.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- One message as it was told, and how many characters of its texts the row takes (null: all).
drop type if exists private.told_message cascade;
create type private.told_message as (
    job_id uuid,
    scheduled_message_id uuid,
    status text,
    sent_at timestamptz,
    message_id text,
    error text,
    delivery_status text,
    longest integer
);

create or replace function private.settle_rows(p_rows private.told_message[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    update public.scheduled_messages as message
    set status = case told.status
            when 'sent' then 'sent'
            when 'unconfirmed' then 'unconfirmed'
            else 'failed'
        end,
        sent_at = case when told.status = 'sent' then coalesce(told.sent_at, now()) end,
        message_id = case
            when told.status = 'sent'
            then left(coalesce(told.message_id, told.job_id::text), least(512, told.longest))
        end,
        error = case
            when told.status <> 'sent' then left(
                coalesce(nullif(told.error, ''), 'The sender gave no reason.'),
                least(2000, told.longest)
            )
            when message.error like 'The series ends with this message%' then message.error
        end,
        delivery_status = coalesce(told.delivery_status, message.delivery_status),
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    from unnest(p_rows) as told
    where message.id = any(array[told.scheduled_message_id])
        and told.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and message.broadcast_job_id = told.job_id
        and (
            message.status in ('processing', 'unconfirmed', 'in_queue')
            -- Cancelled while it was being sent, it may have gone out: then that is what the row
            -- says.
            or (message.status = 'cancelled' and told.status in ('sent', 'unconfirmed'))
        );
    return '[]';
end
$$;

-- Tells rows one of which was not told: somebody holds it, or refuses it. The others are told;
-- those are put aside with their outcomes, and told again by the rescue: their jobs end all the
-- same, and are not sent again (may_have_gone_out). A text that is too long is shortened first.
create or replace function private.settle_or_put_aside(p_rows private.told_message[])
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_rows private.told_message[] := array(
        select told from unnest(p_rows) as told
        cross join lateral (
            select m.id from public.scheduled_messages as m
            where m.id = told.scheduled_message_id
            limit 1
            for no key update skip locked
        ) as free
    );
    v_held constant private.told_message[] := array(
        select told from unnest(p_rows) as told
        cross join lateral (
            select m.id from public.scheduled_messages as m
            where m.id = told.scheduled_message_id
            limit 1
        ) as message
        where told.job_id not in (select free.job_id from unnest(v_rows) as free)
    );
    v_refused jsonb;
begin
    if v_held <> '{}' then
        begin
            perform private.settle_rows(v_held);
        exception when lock_not_available then
            perform private.put_aside(
                'settle', array_agg(held.job_id), array_agg('55P03'::text),
                array_agg('a transaction that is still open holds this row'::text),
                array_agg(to_jsonb(held))
            )
            from unnest(v_held) as held;
        when others then
            v_rows := p_rows; -- what is refused is found below
        end;
    end if;

    v_refused := (
        select tried.refused from private.try_rows('settle_rows', v_rows, false) as tried
    );
    if v_refused = '[]' then
        return;
    end if;
    v_rows := array(
        select jsonb_populate_record(v_rows[said.place], jsonb_build_object('longest', (
            select coalesce(min(a.atttypmod) - 4, 100) from pg_catalog.pg_attribute as a
            where a.attrelid = 'public.scheduled_messages'::regclass
                and a.attname in ('error', 'message_id')
                and a.atttypmod > 4
        )))
        from jsonb_to_recordset(v_refused) as said (place integer)
    );
    v_refused := (
        select tried.refused from private.try_rows('settle_rows', v_rows, false) as tried
    );
    perform private.put_aside(
        'settle', array_agg((v_rows[said.place]).job_id), array_agg(said.code),
        array_agg(said.reason), array_agg(to_jsonb(v_rows[said.place]))
    )
    from jsonb_to_recordset(v_refused) as said (place integer, code text, reason text);
end
$$;

-- Tells all of them at once if it can.
create or replace function private.settle(p_rows private.told_message[])
returns void
language plpgsql
volatile
set search_path = ''
as $$
begin
    perform private.settle_rows(p_rows);
exception when others then
    if private.stops_everybody(sqlstate) then
        raise;
    end if;
    perform private.wait_less(sqlstate); -- what is still held has been waited for
    perform private.settle_or_put_aside(p_rows);
end
$$;

-- Tells them again what is known by now, which is what their messages say; where somebody has
-- deleted those, what was put aside.
create or replace function private.settle_again(p_rows private.told_message[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
begin
    update public.broadcast_messages as entry set updated_at = now()
    from unnest(p_rows) as told
    where entry.job_id = any(array[told.job_id]);
    perform private.settle(array(
        select told from unnest(p_rows) as told
        where not exists (
            select from public.broadcast_messages as entry
            where entry.job_id = any(array[told.job_id])
        )
    ));
    return '[]';
end
$$;
revoke all on function private.settle_rows, private.settle_or_put_aside, private.settle,
private.settle_again from public;
grant execute on function private.settle_rows, private.settle_or_put_aside, private.settle,
private.settle_again to service_role;

create or replace function private.settle_scheduled_messages()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_patience constant text := current_setting('lock_timeout');
    v_heard uuid[];
    v_rows private.told_message[];
begin
    -- At most so long, whoever writes; some of our own callers are more impatient.
    perform set_config('lock_timeout', private.shorter(v_patience, '100ms'), true);

    -- What a Node worker calls failed may have gone out, or may be tried again (hear_node_worker).
    select array_agg(entry.job_id) into v_heard
    from changed as entry
    cross join lateral (
        select j.gateway, j.status from public.broadcast_jobs as j
        where j.id = entry.job_id
        limit 1
    ) as job
    where entry.status in ('failed', 'skipped')
        and entry.scheduled_message_id is not null
        and job.status not in ('queued', 'completed', 'failed', 'cancelled')
        and private.hands_over(job.gateway);
    if v_heard is not null then
        perform private.hear_node_worker(
            entry.job_id, private.meaning_of(entry.error), entry.error
        )
        from changed as entry
        where entry.job_id = any(v_heard);
    end if;

    select array_agg(
        row(
            entry.job_id,
            entry.scheduled_message_id,
            entry.status,
            entry.sent_at,
            -- As json, because upstream has had message_ids as text and as text[].
            coalesce(
                entry.message_id,
                to_jsonb(entry) #>> '{message_ids,0}',
                nullif(to_jsonb(entry) ->> 'message_ids', '[]')
            ),
            entry.error,
            entry.delivery_status,
            null
        )::private.told_message
        order by entry.scheduled_message_id
    )
    into v_rows
    from changed as entry
    where entry.scheduled_message_id is not null
        and entry.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and entry.job_id <> all(coalesce(v_heard, '{}'));
    if v_rows is not null then
        perform private.settle(v_rows);
    end if;
    perform set_config('lock_timeout', v_patience, true);
    return null;
end
$$;
revoke all on function private.settle_scheduled_messages from public;

create or replace trigger settle_scheduled_messages after update on public.broadcast_messages
referencing new table as changed
for each statement execute function private.settle_scheduled_messages();
