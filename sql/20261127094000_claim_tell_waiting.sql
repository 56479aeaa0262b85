-- What the jobs that remain are told, and when their connections are looked at again. It runs as
-- its caller, the service key.

-- A connection that has had its turn: why its rows wait (null: for nothing but their own instants)
-- and until when the last one, up to which job they know it (`told_at` null: there is nothing more
-- to tell) and until when that one waits, for what is written to one and for what is written to
-- many; whether more are to be told at once, and when it may go on (null: it depends on its jobs
-- alone).
drop type if exists private.waiting_connection cascade;
create type private.waiting_connection as (
    connection_id text,
    reason text,
    until timestamptz,
    told_at timestamptz,
    told_id uuid,
    told_until timestamptz,
    many_told_at timestamptz,
    many_told_id uuid,
    many_told_until timestamptz,
    has_more boolean,
    look_at timestamptz
);

-- Tells the jobs that remain why they wait and until about when, a thousand at a time: all of them
-- when the reason changes, else those behind the last one that was told; nobody who waits less than
-- a second. p_quietly: it only works out what it would tell.
create or replace function private.tell_waiting(
    p_turn text[], p_terms private.claim_terms, p_quietly boolean
)
returns setof private.waiting_connection
language sql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    with paced as materialized (
        select
            pace.*,
            news.reason,
            greatest(10, 1000 / cardinality(p_turn)) as enough,
            case when news.is_new then '-infinity' else state.told_at end as told_at,
            state.told_id,
            case when not news.is_new then state.told_until end as told_until,
            case when news.is_new then '-infinity' else state.many_told_at end as many_told_at,
            state.many_told_id,
            case when not news.is_new then state.many_told_until end as many_told_until,
            case when not news.is_new then state.waiting_until end as former_until
        from private.pace(p_turn, p_terms.at, p_terms.gateway, p_terms.call_seconds) as pace
        join private.connection_state as state
            on state.connection_id = any(array[pace.connection_id])
        cross join lateral (
            select
                why.reason,
                state.waiting_reason is distinct from why.reason
                or coalesce(state.waiting_until <> pace.blocked_until, false) as is_new
            from (select coalesce(pace.blocked_reason, pace.turn_reason) as reason) as why
        ) as news
    ),
    untold as materialized (
        select
            paced.connection_id,
            paced.reason,
            paced.blocked_until,
            paced.step is null or paced.blocked_reason is not null as is_certain,
            level.priority,
            job.*,
            row_number() over line as place,
            case
                when paced.blocked_reason is not null then paced.blocked_until
                -- What is written to many comes after what is written to one.
                else greatest(
                    paced.first_at,
                    paced.told_until + make_interval(secs => paced.step),
                    case
                        when level.priority > 0
                            then paced.many_told_until + make_interval(secs => paced.step)
                    end
                ) + make_interval(secs => paced.step * (row_number() over line - 1))
            end as until
        from paced
        cross join lateral (
            values
            (0::smallint, paced.told_at, paced.told_id),
            (1::smallint, paced.many_told_at, paced.many_told_id)
        ) as level (priority, told_at, told_id)
        cross join lateral (
            select j.id, j.scheduled_message_id, j.available_at from public.broadcast_jobs as j
            where j.connection_id = paced.connection_id
                and j.priority = level.priority
                and j.status = 'queued'
                and j.scheduled_message_id is not null
                and (j.available_at, j.id) > (level.told_at, level.told_id)
            order by j.available_at, j.id
            limit paced.enough
        ) as job
        window line as (
            partition by paced.connection_id order by level.priority, job.available_at, job.id
        )
    ),
    -- Not the rows that somebody is editing: they will have no job any more.
    told as (
        update public.scheduled_messages as message
        set waiting_reason = waiting.reason,
            waiting_until = waiting.until,
            updated_at = now()
        from (
            select
                free.id,
                untold.reason,
                nullif(untold.until, 'infinity') as until
            from untold
            cross join lateral (
                select m.id from public.scheduled_messages as m
                where m.id = untold.scheduled_message_id
                    and m.broadcast_job_id = untold.id
                    and m.status = 'processing'
                    and (m.waiting_reason, m.waiting_until)
                    is distinct from (untold.reason, nullif(untold.until, 'infinity'))
                    -- What waits for longer because of itself or its recipient says so.
                    and not (
                        m.waiting_until >= untold.available_at
                        and untold.available_at > greatest(p_terms.at, untold.blocked_until)
                    )
                limit 1
                for no key update skip locked
            ) as free
            where not p_quietly
                and (untold.is_certain or untold.until > p_terms.at + interval '1 second')
        ) as waiting
        where message.id = any(array[waiting.id])
    ),
    -- Of each the last one, of either priority.
    last as materialized (
        select distinct on (u.connection_id, u.priority) u.* from untold as u
        order by u.connection_id, u.priority, u.place desc
    )
    select
        paced.connection_id,
        paced.reason,
        coalesce(
            paced.blocked_until, greatest(first.until, many.until), paced.former_until
        ) as until,
        case
            when paced.reason is not null or first.place = paced.enough
            then coalesce(first.available_at, paced.told_at)
        end as told_at,
        coalesce(first.id, paced.told_id) as told_id,
        coalesce(first.until, paced.told_until) as told_until,
        case
            when paced.reason is not null or many.place - coalesce(first.place, 0) = paced.enough
            then coalesce(many.available_at, paced.many_told_at)
        end as many_told_at,
        coalesce(many.id, paced.many_told_id) as many_told_id,
        coalesce(many.until, paced.many_told_until) as many_told_until,
        coalesce(
            paced.enough in (first.place, many.place - coalesce(first.place, 0)), false
        ) as has_more,
        case
            when paced.blocked_reason is null then paced.look_at
            when not paced.fails then paced.blocked_until
        end as look_at
    from paced
    left join last as first
        on first.connection_id = paced.connection_id and first.priority = 0
    left join last as many
        on many.connection_id = paced.connection_id and many.priority = 1
$$;

-- Sends the connections to the back of the line, or to sleep: until the next job, the next slot,
-- the end of the block.
create or replace function private.set_next_look(
    p_waiting private.waiting_connection[], p_now timestamptz
)
returns void
language sql
set search_path = ''
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
as $$
    update private.connection_state as state
    set waiting_reason = waiting.reason,
        waiting_until = waiting.until,
        told_at = waiting.told_at,
        told_id = waiting.told_id,
        told_until = waiting.told_until,
        many_told_at = waiting.many_told_at,
        many_told_id = waiting.many_told_id,
        many_told_until = waiting.many_told_until,
        turn_at = p_now,
        ready_at = case
            when waiting.has_more then p_now
            when state.paused_reason is not null and not state.is_on_trial then 'infinity'
            else greatest(
                p_now, waiting.look_at, least(
                    next_job.available_at, next_of_many.available_at, aside.again_at, 'infinity'
                )
            )
        end
    from unnest(p_waiting) as waiting
    left join lateral (
        select j.available_at from public.broadcast_jobs as j
        where j.connection_id = waiting.connection_id
            and j.priority = 0
            and j.status = 'queued'
            and j.scheduled_message_id is not null
            and (j.expires_at is null or j.expires_at > p_now)
            and j.id <> all(array(
                select r.id from private.refused_rows as r
                where r.step = 'claim' and r.again_at > p_now
            ))
        order by j.available_at
        limit 1
    ) as next_job on true
    -- Where that may go now, nothing can be sooner.
    left join lateral (
        select j.available_at from public.broadcast_jobs as j
        where (next_job.available_at is null or next_job.available_at > p_now)
            and j.connection_id = waiting.connection_id
            and j.priority = 1
            and j.status = 'queued'
            and j.scheduled_message_id is not null
            and (j.expires_at is null or j.expires_at > p_now)
            and j.id <> all(array(
                select r.id from private.refused_rows as r
                where r.step = 'claim' and r.again_at > p_now
            ))
        order by j.available_at
        limit 1
    ) as next_of_many on true
    left join lateral (
        select r.again_at from private.refused_rows as r
        where r.step = 'claim'
            and r.connection_id = waiting.connection_id
            and r.again_at > p_now
        order by r.again_at
        limit 1
    ) as aside on true
    where state.connection_id = any(array[waiting.connection_id])
$$;
revoke all on function private.tell_waiting, private.set_next_look from public;
grant execute on function private.tell_waiting, private.set_next_look to service_role;
