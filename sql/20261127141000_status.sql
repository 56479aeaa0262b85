-- What an operator wants to know at a glance.
create or replace function public.get_status(p_stale_seconds double precision default 600)
returns table (
    db_now timestamptz, counts jsonb, next_due_at timestamptz, oldest_overdue_at timestamptz, waiting jsonb, connections jsonb,
    unconfirmed jsonb, stale_hand_overs integer, refused jsonb
)
language sql
stable
set search_path = ''
set lock_timeout = '2s'
as $$
    select clock_timestamp(),
        (select jsonb_object_agg(c.status, c.number) from (select s.status, count(*) as number from public.scheduled_messages as s group by s.status) as c),
        (select min(s.due_at) from public.scheduled_messages as s where s.due_at > now()),
        (select min(s.due_at) from public.scheduled_messages as s where s.due_at <= now()),
        (
            select jsonb_agg(to_jsonb(w) order by w.number desc) from (
                select j.connection_id, coalesce(s.waiting_reason, s.error, 'its turn') as reason, count(*) as number, min(s.waiting_until) as until
                from public.broadcast_jobs as j
                join public.scheduled_messages as s on s.id = j.scheduled_message_id and s.broadcast_job_id = j.id
                where j.status = 'queued' and j.scheduled_message_id is not null
                group by 1, 2 order by 3 desc limit 50
            ) as w
        ),
        (
            select jsonb_agg(to_jsonb(c) order by c.connection_id) from (
                select st.connection_id, coalesce('paused: ' || st.paused_reason, st.waiting_reason) as state,
                    coalesce(st.probe_at, nullif(st.waiting_until, 'infinity')) as until, st.sent_today, se.daily_limit
                from private.connection_state as st
                left join public.connection_settings as se on se.connection_id = st.connection_id
                where st.paused_reason is not null or st.waiting_until > now() limit 100
            ) as c
        ),
        (
            select jsonb_agg(to_jsonb(u) order by u.send_at) from (
                select s.id, s.connection_id, s.error, j.gateway, j.attempts, j.send_at, j.lease_until
                from public.scheduled_messages as s
                left join public.broadcast_jobs as j on j.id = s.broadcast_job_id
                where s.status = 'unconfirmed' limit 100
            ) as u
        ),
        (
            select count(*) from public.broadcast_jobs as j
            where j.status in ('handed_over', 'active') and j.scheduled_message_id is not null and j.send_at < now() - make_interval(secs => p_stale_seconds)
        ),
        -- By the scheduled row's id, whatever it was that was refused.
        (
            select jsonb_agg(to_jsonb(r) order by r.first_at) from (
                select coalesce(j.scheduled_message_id, f.id) as id, f.step, f.code, f.reason, f.tries, f.first_at, f.again_at
                from private.refused_rows as f
                left join public.broadcast_jobs as j on f.step <> 'enqueue' and j.id = f.id
                order by f.first_at limit 100
            ) as r
        )
$$;
revoke all on function public.get_status(double precision) from public, anon, authenticated;
grant execute on function public.get_status(double precision) to service_role;
