-- Carries an outcome from broadcast_messages to the scheduled row, in the same transaction, whoever wrote it: our
-- dispatcher or a Node worker. Acts only on a row's current job; a row deleted or cancelled meanwhile is simply not there.
-- Definer, in a schema that the API does not expose, because the upstream worker writes as `anon`.
-- Locks: `create trigger` takes `share row exclusive` for an instant.
set local lock_timeout = '1s';

-- One message as it was told, and how many characters of its texts the row takes.
drop type if exists private.told_message cascade;
create type private.told_message as (
    job_id uuid, scheduled_message_id uuid, status text, sent_at timestamptz, message_id text, error text, delivery_status text, longest integer
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
    update public.scheduled_messages as s
    set status = case n.status when 'sent' then 'sent' when 'unconfirmed' then 'unconfirmed' else 'failed' end,
        sent_at = case when n.status = 'sent' then coalesce(n.sent_at, now()) end,
        message_id = case when n.status = 'sent' then left(coalesce(n.message_id, n.job_id::text), least(512, n.longest)) end,
        error = case
            when n.status <> 'sent' then left(coalesce(nullif(n.error, ''), 'The sender gave no reason.'), least(2000, n.longest))
            when s.error like 'The series ends with this message%' then s.error
        end,
        delivery_status = coalesce(n.delivery_status, s.delivery_status),
        waiting_reason = null,
        waiting_until = null,
        updated_at = now()
    from unnest(p_rows) as n
    where s.id = any(array[n.scheduled_message_id])
        and n.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and s.broadcast_job_id = n.job_id
        -- Cancelled while it was being sent, it may have gone out: then that is what the row says.
        and (s.status in ('processing', 'unconfirmed', 'in_queue') or (s.status = 'cancelled' and n.status in ('sent', 'unconfirmed')));
    return '[]';
end
$$;
revoke all on function private.settle_rows from public;
grant execute on function private.settle_rows to service_role;

-- What a row refuses to be told is put aside with its outcome, and told again by the rescue: its
-- job ends all the same, is not sent again (may_have_gone_out), and the others are told. A text
-- that is too long is shortened first.
create or replace function private.settle_or_put_aside(p_rows private.told_message[])
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_rows private.told_message[] := p_rows;
    v_free private.told_message[];
    v_held private.told_message[];
    v_refused jsonb;
begin
    -- Those that nobody holds, at once; the others may have to wait, and then to be told later.
    v_free := array(
        select n from unnest(v_rows) as n
        cross join lateral (
            select w.id from public.scheduled_messages as w where w.id = n.scheduled_message_id limit 1 for no key update skip locked
        ) as s
    );
    v_held := array(
        select n from unnest(v_rows) as n
        cross join lateral (
            select w.id from public.scheduled_messages as w where w.id = n.scheduled_message_id limit 1
        ) as s
        where n.job_id <> all (array(select f.job_id from unnest(v_free) as f))
    );
    if v_held <> '{}' then
        begin
            perform private.settle_rows(v_held);
        exception when lock_not_available then
            perform private.put_aside(
                'settle', array_agg(h.job_id), array_agg('55P03'::text),
                array_agg('a transaction that is still open holds this row'::text),
                array_agg(to_jsonb(h))
            )
            from unnest(v_held) as h;
        when others then
            v_free := v_rows; -- what is refused is found below
        end;
    end if;
    v_rows := v_free;
    v_refused := (select t.refused from private.try_rows('settle_rows', v_rows, false) as t);
    if v_refused <> '[]' then
        select array_agg(row(
            m.job_id, m.scheduled_message_id, m.status, m.sent_at, m.message_id, m.error, m.delivery_status,
            (
                select coalesce(min(a.atttypmod) - 4, 100) from pg_catalog.pg_attribute as a
                where a.attrelid = 'public.scheduled_messages'::regclass and a.attname in ('error', 'message_id') and a.atttypmod > 4
            )
        )::private.told_message)
        into v_rows
        from jsonb_to_recordset(v_refused) as r (place integer)
        cross join lateral (select (v_rows[r.place]).*) as m;
        v_refused := (select t.refused from private.try_rows('settle_rows', v_rows, false) as t);
        perform private.put_aside(
            'settle', array_agg((v_rows[r.place]).job_id), array_agg(r.code), array_agg(r.reason),
            array_agg(to_jsonb(v_rows[r.place]))
        )
        from jsonb_to_recordset(v_refused) as r (place integer, code text, reason text);
    end if;
end
$$;
revoke all on function private.settle_or_put_aside from public;
grant execute on function private.settle_or_put_aside to service_role;

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
    update public.broadcast_messages as m set updated_at = now()
    from unnest(p_rows) as g
    where m.job_id = any(array[g.job_id]);
    perform private.settle_or_put_aside(array(
        select g from unnest(p_rows) as g
        where not exists (
            select from public.broadcast_messages as m where m.job_id = any(array[g.job_id])
        )
    ));
    return '[]';
end
$$;
revoke all on function private.settle_again from public;
grant execute on function private.settle_again to service_role;

create or replace function private.settle_scheduled_messages()
returns trigger
language plpgsql
security definer
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
as $$
declare
    v_heard uuid[];
    v_rows private.told_message[];
begin
    -- What a Node worker calls failed may have gone out, or may be tried again (private.hear_node_worker).
    select array_agg(n.job_id) into v_heard
    from changed as n
    cross join lateral (select w.gateway, w.status from public.broadcast_jobs as w where w.id = n.job_id limit 1) as j
    where n.status in ('failed', 'skipped') and n.scheduled_message_id is not null
        and j.status not in ('queued', 'completed', 'failed', 'cancelled') and private.hands_over(j.gateway);
    if v_heard is not null then
        perform private.hear_node_worker(n.job_id, private.meaning_of(n.error), n.error)
        from changed as n where n.job_id = any (v_heard);
    end if;

    select array_agg(
        row(
            n.job_id, n.scheduled_message_id, n.status, n.sent_at,
            -- As json, because upstream has had message_ids as text and as text[].
            coalesce(n.message_id, to_jsonb(n) #>> '{message_ids,0}', nullif(to_jsonb(n) ->> 'message_ids', '[]')),
            n.error, n.delivery_status, null
        )::private.told_message
        order by n.scheduled_message_id
    )
    into v_rows
    from changed as n
    where n.scheduled_message_id is not null and n.status in ('sent', 'failed', 'skipped', 'unconfirmed')
        and n.job_id <> all (coalesce(v_heard, '{}'));
    if v_rows is null then
        return null;
    end if;
    perform private.settle_or_put_aside(v_rows);
    return null;
end
$$;
revoke all on function private.settle_scheduled_messages from public;

create or replace trigger settle_scheduled_messages after update on public.broadcast_messages
referencing new table as changed
for each statement execute function private.settle_scheduled_messages();
