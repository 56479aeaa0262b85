-- The next end of a lease or of a waiting job's usefulness, when a job may leave a Node worker's queue, or when
-- what the database refused is tried again; null where there
-- is none.
create or replace function private.next_expiry()
returns timestamptz
language sql
stable
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    select least(
        (
            select j.lease_until from public.broadcast_jobs as j
            where j.status in ('sending', 'handed_over') and j.lease_until is not null
                and j.id <> all(array(
                    select r.id from private.refused_rows as r
                    where r.step = 'record' or (r.step = 'rescue' and r.again_at > now())
                ))
            order by j.lease_until limit 1
        ),
        (
            select j.expires_at from public.broadcast_jobs as j
            where j.status = 'queued' and j.expires_at is not null
                and j.id <> all(array(
                    select r.id from private.refused_rows as r where r.step = 'rescue' and r.again_at > now()
                ))
            order by j.expires_at limit 1
        ),
        (
            select min(r.again_at) from private.refused_rows as r
            where r.step in ('record', 'settle', 'rescue', 'announce', 'note', 'tend')
        ),
        (
            select min(w.lease_until) from private.gateways as g
            cross join lateral (
                select o.lease_until from public.broadcast_jobs as o
                where o.gateway = any(array[g.name])
                    and o.status in ('completed', 'failed', 'cancelled', 'unconfirmed') and o.lease_until is not null
                order by o.lease_until limit 1
            ) as w
            where g.hands_over
        ),
        (
            select min(greatest(e.again_at, now())) from private.erasures as e
            where coalesce((select j.status from public.broadcast_jobs as j where j.id = e.job_id limit 1), '')
                not in ('queued', 'sending', 'handed_over', 'active')
        )
    )
$$;
revoke all on function private.next_expiry from public;
grant execute on function private.next_expiry to service_role;

drop type if exists private.late_row cascade;
create type private.late_row as (id uuid, handover_seconds double precision, quietly boolean);

-- Leases that have ended. Returns ["unconfirmed"] or [{what is to be handed over again}] for each.
create or replace function private.rescue_rows(p_rows private.late_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_done jsonb;
    v_parted uuid[];
begin
    with late as materialized (
        select j.id, j.scheduled_message_id, j.gateway, j.status, j.lease_until, g.handover_seconds, g.quietly
        from unnest(p_rows) as g
        join public.broadcast_jobs as j on j.id = any(array[g.id])
    ),
    unconfirmed as (
        update public.broadcast_jobs as j
        set status = 'unconfirmed', updated_at = now()
        from late
        where j.id = any(array[late.id]) and late.status = 'sending' and not private.hands_over(late.gateway)
        returning j.id, late.lease_until
    ),
    told_unconfirmed as (
        update public.broadcast_messages as m
        set status = 'unconfirmed', updated_at = now(),
            error = 'It may have been sent: the sender stopped while it was sending, at about '
                || to_char(unconfirmed.lease_until at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS') || ' UTC at the latest.'
        from unconfirmed
        where m.job_id = any(array[unconfirmed.id])
        returning m.job_id, m.parts
    ),
    handed_over as (
        update public.broadcast_jobs as j
        set status = case when l.wanted then 'handed_over' else 'cancelled' end,
            -- What may never have reached Redis is looked at once more, soon.
            lease_until = case when j.send_at > now() - interval '1 day' then now()
                + make_interval(secs => case when l.status = 'sending' then least(60, l.handover_seconds) else l.handover_seconds end) end,
            updated_at = now()
        from (
            select late.*, exists (
                select 1 from public.scheduled_messages as s
                where s.id = late.scheduled_message_id and s.broadcast_job_id = late.id and s.status = 'processing'
            ) as wanted
            from late
        ) as l
        where j.id = any(array[l.id]) and private.hands_over(l.gateway)
        returning j.*, l.status as former_status, l.quietly
    ),
    told_handed_over as (
        update public.scheduled_messages as s
        set waiting_reason = 'the broadcast worker has had it since ' || to_char(h.send_at at time zone 'utc', 'YYYY-MM-DD HH24:MI')
                || ' UTC and has not told what became of it',
            updated_at = now()
        from handed_over as h
        where h.former_status = 'handed_over' and not h.quietly and s.id = any(array[h.scheduled_message_id]) and s.broadcast_job_id = h.id and s.status = 'processing'
    )
    select (select coalesce(jsonb_agg('unconfirmed'::text), '[]') from unconfirmed) || coalesce(jsonb_agg(to_jsonb(again)), '[]'),
        (select array_agg(t.job_id) from told_unconfirmed as t where t.parts is not null)
    into v_done, v_parted
    from (
        select h.id, h.scheduled_message_id, h.connection_id, h.recipient, h.type, h.message, h.media_url, h.caption, h.media, h.asset_id,
            h.user_id as owner_id, h.attempts, h.throttled, h.gateway, null as sender, private.api_key_of(h.connection_id) as api_key
        from handed_over as h
        where h.status = 'handed_over' and h.lease_until is not null
    ) as again;
    if v_parted is not null then
        perform private.settle_by_parts(v_parted); -- all may be known of them by now
    end if;
    return v_done;
end
$$;

-- Jobs that waited past their last useful moment. Returns ["expired"] for each.
create or replace function private.expire_rows(p_rows private.late_row[])
returns jsonb
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_done jsonb;
begin
    with too_late as (
        update public.broadcast_jobs as j
        set status = 'failed', completed_at = now(), updated_at = now()
        from unnest(p_rows) as g
        where j.id = any(array[g.id]) and j.status = 'queued'
        returning j.id, j.scheduled_message_id
    ),
    told_too_late as (
        update public.broadcast_messages as m
        set status = 'failed', updated_at = now(),
            error = 'Not sent in time. It waited for: ' || coalesce(s.waiting_reason, s.error, 'its turn on this connection') || '.'
        from too_late
        left join public.scheduled_messages as s
            on s.id = any(array[too_late.scheduled_message_id]) and s.broadcast_job_id = too_late.id
        where m.job_id = any(array[too_late.id])
    )
    select jsonb_agg('expired'::text) into v_done from too_late;
    return v_done;
end
$$;

-- Tries again what the database has refused to have written down, and forgets what is over.
create or replace function private.retry_refused()
returns void
language plpgsql
volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_due private.refused_rows[];
    v_told private.told_message[];
    v_tended uuid[];
begin
    v_due := array(
        select r from private.refused_rows as r
        where r.step in ('record', 'settle', 'announce', 'note', 'tend') and r.again_at <= now()
        order by r.again_at limit 200 for update skip locked
    );
    if v_due <> '{}' then
        perform private.record_or_put_aside(array(
            select jsonb_populate_record(null::private.told_row, r.outcome) from unnest(v_due) as r where r.step = 'record' order by r.id
        ));
        perform private.announce_work(array_agg(r.connection_id), array_agg(now())) from unnest(v_due) as r where r.step = 'announce';
        perform private.note_or_leave(r.outcome) from unnest(v_due) as r where r.step = 'note';
        v_told := array(
            select jsonb_populate_record(null::private.told_message, r.outcome)
            from unnest(v_due) as r where r.step = 'settle' order by r.id
        );
        perform private.put_aside(
            'settle', array_agg((v_told[r.place]).job_id), array_agg(r.code), array_agg(r.reason),
            array_agg(to_jsonb(v_told[r.place]))
        )
        from private.try_rows('settle_again', v_told, false) as t
        cross join lateral jsonb_to_recordset(t.refused) as r (place integer, code text, reason text)
        having count(*) > 0;
        v_tended := array(select r.id from unnest(v_due) as r where r.step = 'tend' order by r.id);
        perform private.put_aside(
            'tend', array_agg(v_tended[r.place]), array_agg(r.code), array_agg(r.reason), null
        )
        from private.try_rows('tend_rows', v_tended, false) as t
        cross join lateral jsonb_to_recordset(t.refused) as r (place integer, code text, reason text)
        having count(*) > 0;
        -- But those that were put aside anew.
        delete from private.refused_rows as r
        using unnest(v_due) as d
        where r.id = any(array[d.id]) and r.step = d.step and r.again_at = d.again_at;
    end if;
    delete from private.refused_rows as r
    where (r.id, r.step) in (
        select o.id, o.step from private.refused_rows as o
        where o.step in ('enqueue', 'claim', 'rescue') and o.again_at <= now()
            and not exists (select 1 from public.scheduled_messages as s where o.step = 'enqueue' and s.id = o.id and s.status = 'pending')
            and not exists (
                select 1 from public.broadcast_jobs as j
                where o.step <> 'enqueue' and j.id = o.id and j.status in ('queued', 'sending', 'handed_over')
            )
        order by o.again_at limit 1000 for update skip locked
    );
end
$$;

-- Puts right what a dead daemon left behind. A lease that ends on a job that was `sending` leaves it unconfirmed: it may
-- have gone out. A job that waited past its last useful moment fails.
-- A hand-over to the Node worker whose time is over is given to the caller to add again, whether it was written down as
-- handed over or its daemon died between the table and Redis: while Redis knows the job id, adding it does nothing. It stays
-- `handed_over` all the time, so that nobody can withdraw it, and no pace or limit counts it twice.
-- A worker may have finished the job and failed to tell us. So nothing is added again later than a day after `send_at`,
-- when it was first added: Redis forgets a finished job two days after its end at the earliest (worker/gateway/bullmq.py), and
-- only what it has forgotten could run twice. After that day the job is shown as stale and left to the operator.
-- Tells when the next of all these ends, so that nobody has to look before.
create or replace function public.rescue_broadcast_jobs(p_handover_seconds double precision default 600)
returns table (
    rescued integer, expired integer, hand_overs jsonb, db_now timestamptz, next_expiry_at timestamptz, refused jsonb
)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '250ms'
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
    v_late private.late_row[];
    v_expired private.late_row[];
    v_done jsonb;
    v_more jsonb;
begin
    perform private.retry_refused();
    perform private.erase_deleted();
    v_late := array(
        select row(j.id, p_handover_seconds, false)::private.late_row from public.broadcast_jobs as j
        where j.status in ('sending', 'handed_over') and j.lease_until < now()
            and j.id <> all(array(
                select r.id from private.refused_rows as r
                where r.step = 'record' or (r.step = 'rescue' and r.again_at > now())
            ))
        order by j.lease_until limit 1000 for update skip locked
    );
    v_expired := array(
        select row(j.id, p_handover_seconds, false)::private.late_row from public.broadcast_jobs as j
        where j.status = 'queued' and j.scheduled_message_id is not null and j.expires_at < now()
            and j.id <> all(array(
                select r.id from private.refused_rows as r where r.step = 'rescue' and r.again_at > now()
            ))
        order by j.expires_at limit 1000 for update skip locked
    );
    select t.done, t.refused into v_done, refused from private.try_rows('rescue_rows', v_late, false) as t;
    if refused <> '[]' then
        v_late := array(
            select row((v_late[r.place]).id, p_handover_seconds, true)::private.late_row
            from jsonb_to_recordset(refused) as r (place integer)
        );
        select v_done || t.done, t.refused into v_done, refused from private.try_rows('rescue_rows', v_late, false) as t;
    end if;
    select v_done || t.done, t.refused into v_done, v_more from private.try_rows('expire_rows', v_expired, false) as t;
    refused := (
        select jsonb_agg(jsonb_build_object('id', id, 'code', code, 'reason', reason)) from (
            select (v_late[r.place]).id, r.code, r.reason from jsonb_to_recordset(refused) as r (place integer, code text, reason text)
            union all
            select (v_expired[r.place]).id, r.code, r.reason from jsonb_to_recordset(v_more) as r (place integer, code text, reason text)
        ) as both_lists
    );
    perform private.put_aside('rescue', array_agg(r.id), array_agg(r.code), array_agg(r.reason), null)
    from jsonb_to_recordset(refused) as r (id uuid, code text, reason text);

    rescued := (select count(*) from jsonb_array_elements(v_done) as d where d = '"unconfirmed"');
    expired := (select count(*) from jsonb_array_elements(v_done) as d where d = '"expired"');
    hand_overs := (select jsonb_agg(d) from jsonb_array_elements(v_done) as d where jsonb_typeof(d) = 'object');
    db_now := clock_timestamp();
    next_expiry_at := private.next_expiry();
    return next;
end
$$;
revoke all on function private.rescue_rows, private.expire_rows,
private.retry_refused from public;
grant execute on function private.rescue_rows, private.expire_rows,
private.retry_refused to service_role;
revoke all on function public.rescue_broadcast_jobs(double precision) from public, anon, authenticated;
grant execute on function public.rescue_broadcast_jobs(double precision) to service_role;
