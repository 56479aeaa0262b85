-- New tries for those of a run whose message came to nothing: asked for by a row that a user writes
-- (retry_campaign_run), marked here, made by the daemon a window at a time.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

create table if not exists public.campaign_retries (
    id uuid primary key default gen_random_uuid(),
    run_id uuid not null,
    owner_id uuid not null,
    connection_id text not null,
    -- What became of the messages that are tried again.
    statuses text[] not null default '{failed}',
    -- The database's: how many are, and who is not: [{"reason": …, "count": …, "positions": […]}],
    -- of each reason the first hundred positions.
    retried integer not null,
    left_out jsonb not null default '[]',
    created_by uuid default auth.uid(),
    created_at timestamptz not null default now(),
    foreign key (run_id, owner_id)
    references public.campaign_runs (id, owner_id) on delete cascade
);
create index if not exists campaign_retries_run_id_idx
on public.campaign_retries (run_id, owner_id);
create index if not exists campaign_retries_owner_id_idx on public.campaign_retries (owner_id);
comment on table public.campaign_retries is
'scheduled messages: who had messages of a run tried again, when, and what came of asking.';

alter table public.campaign_retries enable row level security;
revoke all on public.campaign_retries from public, anon, authenticated;
grant select, insert on public.campaign_retries to authenticated;
grant select, insert, update, delete on public.campaign_retries to service_role;
drop policy if exists campaign_retries_policy on public.campaign_retries;
create policy campaign_retries_policy on public.campaign_retries
for all to authenticated
using (
    owner_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);

-- Why a new try would come to the same; null where it need not. `p_is_same_number`: whether the
-- number is the one that the message went to. The errors are those of worker/planning and
-- worker/gateway.
create or replace function private.why_it_would_fail_again(
    p_error text, p_is_same_number boolean
)
returns text
language sql
immutable
set search_path = ''
as $$
    select case
        when p_is_same_number and p_error ~* 'no whatsapp account'
            then 'The number has no WhatsApp account, and is the same as before.'
        when p_is_same_number
            and p_error ~*
            '(is neither a contact nor|no country code that exists|is no WhatsApp id)'
            then 'The number is none that can be written to, and is the same as before.'
        when p_error ~* 'has opted out'
            then 'They have opted out.'
        when p_error ~* '(do not send it again|does not let this business write)'
            then 'WhatsApp does not let this business write to them.'
        when p_error ~* '(characters; .* takes|message is empty|cannot be scheduled: use|'
            'media column|is no attachment|address must|is not a valid URL|that cannot be sent)'
            then 'The message itself is at fault, and a new try would have the same: ' || p_error
    end
$$;
revoke all on function private.why_it_would_fail_again from public;

-- Marks for a new try those of a run whose latest message came to what is named, and tells who is
-- left out. The run's row is held by the caller.
create or replace function private.mark_tries(
    p_run public.campaign_runs, p_statuses text[],
    out retried integer, out left_out jsonb
)
language plpgsql
set search_path = ''
as $$
begin
    with latest as materialized (
        select distinct on (message.source_position)
            message.id,
            message.status
        from public.scheduled_messages as message
        where message.source_id = p_run.id
        order by message.source_position, message.source_try desc
    ),
    -- Nothing becomes of them until this ends.
    held as materialized (
        select
            message.source_position as position,
            message.source_try,
            message.status,
            message.error
        from public.scheduled_messages as message
        where message.id = any(array(
            select latest.id from latest where latest.status = any(p_statuses)
        ))
            and message.status = any(p_statuses)
        order by message.id
        for no key update
    ),
    asked as materialized (
        select
            held.*,
            recipient.contact_id,
            recipient.raw
        from held
        join public.campaign_recipients as recipient
            on recipient.run_id = p_run.id and recipient.position = held.position
        where recipient.next_try is null
    ),
    person as materialized (
        select found.*
        from private.people(array(
            select asked.contact_id from asked where asked.contact_id is not null
        ), '{}') as found
        where found.owner = p_run.owner_id::text
    ),
    judged as materialized (
        select
            asked.*,
            case
                when asked.contact_id is not null and person.contact_id is null
                    then 'This contact does not exist any more.'
                when person.is_blocked then 'This contact is blocked.'
                when asked.contact_id is not null and coalesce(person.phone, '') !~ '\S'
                    then 'This contact has no phone number.'
                else private.why_it_would_fail_again(
                    asked.error,
                    asked.contact_id is null or person.phone is not distinct from asked.raw
                )
            end as reason
        from asked
        left join person on person.contact_id = asked.contact_id
    ),
    marked as (
        update public.campaign_recipients as recipient
        set next_try = judged.source_try + 1
        from judged
        where recipient.run_id = p_run.id
            and recipient.position = judged.position
            and judged.reason is null
        returning judged.status
    ),
    counted as (
        update public.campaign_runs as run
        set
            pending = run.pending + was.number,
            unmade = run.unmade + was.number,
            failed = run.failed - was.failed,
            unconfirmed = run.unconfirmed - was.unconfirmed,
            cancelled = run.cancelled - was.cancelled,
            status = 'processing',
            status_reason = null,
            finished_at = null,
            retried_at = now(),
            -- What came to nothing before does not stop it now.
            judged_from = case when run.made_due_at is null then run.made_position else 0 end,
            judged_since = now(),
            rests_until = null
        from (
            select
                count(*) as number,
                count(*) filter (where marked.status = 'failed') as failed,
                count(*) filter (where marked.status = 'unconfirmed') as unconfirmed,
                count(*) filter (where marked.status = 'cancelled') as cancelled
            from marked
        ) as was
        where run.id = p_run.id and was.number > 0
        returning was.number
    ),
    reasons as (
        select
            judged.reason,
            count(*) as count,
            (array_agg(judged.position order by judged.position))[:100] as positions
        from judged
        where judged.reason is not null
        group by judged.reason
    )
    select
        coalesce((select counted.number from counted), 0),
        coalesce((
            select jsonb_agg(to_jsonb(reasons) order by reasons.count desc, reasons.reason)
            from reasons
        ), '[]')
    into retried, left_out;
end
$$;
revoke all on function private.mark_tries from public;

-- A run of which nothing was sent, because the connection's limit of its day was too small, begins
-- again, if today's is not.
create or replace function private.begin_again(
    p_run public.campaign_runs, p_campaign public.campaigns, p_statuses text[],
    out retried integer, out left_out jsonb
)
language plpgsql
set search_path = ''
as $$
declare
    v_why constant text := case when p_campaign.at_daily_limit = 'fail'
        then private.why_beyond_limit(p_run.connection_id, now(), p_run.failed)
    end;
begin
    retried := 0;
    left_out := '[]';
    if 'failed' <> all(p_statuses) then
        return;
    elsif v_why is not null then
        left_out := jsonb_build_array(jsonb_build_object(
            'reason', v_why, 'count', p_run.failed, 'positions', '[]'::jsonb
        ));
        return;
    end if;
    retried := p_run.failed;
    update public.campaign_runs as run
    set
        pending = run.failed,
        unmade = run.failed,
        failed = 0,
        status = 'processing',
        status_reason = null,
        finished_at = null,
        retried_at = now(),
        judged_since = now()
    where run.id = p_run.id;
end
$$;
revoke all on function private.begin_again from public;

-- Takes the marks back from runs that end before the tries were made: who bore one counts as what
-- became of the last message.
create or replace function private.unmark_tries(p_runs uuid[])
returns void
language sql
volatile
set search_path = ''
as $$
    with unmarked as (
        update public.campaign_recipients as recipient
        set next_try = null
        where recipient.run_id = any(p_runs) and recipient.next_try is not null
        returning recipient.run_id, recipient.position
    ),
    was as (
        select
            unmarked.run_id,
            count(*) as number,
            count(*) filter (where last.status = 'unconfirmed') as unconfirmed,
            count(*) filter (where last.status = 'cancelled') as cancelled
        from unmarked
        left join lateral (
            select message.status
            from public.scheduled_messages as message
            where message.source_id = unmarked.run_id
                and message.source_position = unmarked.position
            order by message.source_try desc
            limit 1
        ) as last on true
        group by unmarked.run_id
    )
    update public.campaign_runs as run
    set
        pending = run.pending - was.number,
        unmade = run.unmade - was.number,
        failed = run.failed + was.number - was.unconfirmed - was.cancelled,
        unconfirmed = run.unconfirmed + was.unconfirmed,
        cancelled = run.cancelled + was.cancelled
    from was
    where run.id = was.run_id
$$;
revoke all on function private.unmark_tries from public;

-- Makes the next tries of a run that are asked for, at most so many: each says what the one before
-- it said. One that somebody has set going again meanwhile needs none.
create or replace function private.make_tries(
    p_run public.campaign_runs, p_not_after timestamptz, p_limit integer
)
returns integer
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_made integer;
begin
    with chosen as materialized (
        select
            recipient.position,
            recipient.next_try
        from public.campaign_recipients as recipient
        where recipient.run_id = p_run.id and recipient.next_try is not null
        order by recipient.position
        limit p_limit
    ),
    former as materialized (
        select
            chosen.position,
            chosen.next_try,
            private.counted_as(last.status) as was,
            last.contact_id,
            last.message,
            last.type,
            last.media_url,
            last.caption,
            last.media,
            last.timezone,
            last.created_by,
            last.category,
            last.template
        from chosen
        left join lateral (
            select message.*
            from public.scheduled_messages as message
            where message.source_id = p_run.id and message.source_position = chosen.position
            order by message.source_try desc
            limit 1
            for no key update
        ) as last on true
    ),
    written as (
        insert into public.scheduled_messages (
            connection_id, contact_id, message, type, media_url, caption, media, scheduled_at,
            timezone, created_by, owner_id, category, template, priority, not_after,
            source_id, source_position, source_try
        )
        select
            p_run.connection_id,
            former.contact_id,
            former.message,
            former.type,
            former.media_url,
            former.caption,
            former.media,
            now() + former.position * interval '1 microsecond',
            former.timezone,
            former.created_by,
            p_run.owner_id,
            former.category,
            former.template,
            1,
            p_not_after,
            p_run.id,
            former.position,
            former.next_try
        from former
        where former.was in ('failed', 'unconfirmed', 'cancelled')
        on conflict (source_id, source_position, source_try) where source_id is not null do nothing
        returning 1
    ),
    unmarked as (
        update public.campaign_recipients as recipient
        set next_try = null
        from chosen
        where recipient.run_id = p_run.id and recipient.position = chosen.position
        returning 1
    ),
    -- Those that need none count as what they are; a message that was deleted, as failed.
    needless as (
        select
            count(*) as number,
            count(*) filter (where former.was = 'sent') as sent,
            count(*) filter (where former.was is null) as failed
        from former
        where former.was is null or former.was in ('pending', 'sent')
    ),
    counted as (
        update public.campaign_runs as run
        set
            unmade = run.unmade - (select count(*) from unmarked),
            pending = run.pending - needless.sent - needless.failed,
            sent = run.sent + needless.sent,
            failed = run.failed + needless.failed
        from needless
        where run.id = p_run.id
        returning 1
    )
    select count(*) into v_made
    from written, counted;
    return v_made;
end
$$;
revoke all on function private.make_tries from public;
grant execute on function private.make_tries to service_role;

-- Whose it is, and what it does, is decided here, whatever its writer says. A run is open again
-- until the new tries are over, and its campaign with it.
create or replace function private.retry_run()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
    v_run public.campaign_runs;
    v_campaign public.campaigns;
    v_why text;
begin
    select run.* into v_run from public.campaign_runs as run where run.id = new.run_id;
    if v_run.id is null or (
        v_by_user
        and v_run.owner_id is distinct from auth.uid()
        and (v_run.connection_id, v_run.owner_id) not in (
            select
                mine.connection_id,
                mine.owner_id
            from private.my_connections() as mine
        )
    ) then
        raise exception 'There is no such run of yours.' using errcode = '42501';
    end if;
    if v_by_user then
        perform private.refuse_former_owner(
            v_run.connection_id, v_run.owner_id, array['admin', 'staff']
        );
        new.created_by := auth.uid();
    end if;
    if cardinality(new.statuses) = 0
        or not new.statuses <@ array['failed', 'unconfirmed', 'cancelled']
    then
        raise exception using errcode = 'PT400', message = 'What failed, is unconfirmed or was '
            || 'cancelled can be tried again, nothing else.';
    end if;

    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = v_run.campaign_id
    for no key update;
    perform from public.campaign_runs as run
    where run.id = v_run.id
    for no key update;
    perform private.fold_tallies(array[v_run.id]);
    select run.* into v_run from public.campaign_runs as run where run.id = new.run_id;
    if v_run.total is null then
        raise exception 'This run is still being prepared. Try again in a moment.'
            using errcode = 'PT409';
    elsif v_campaign.status in ('paused', 'cancelled') then
        raise exception using errcode = 'PT409', message = case v_campaign.status
            when 'paused' then 'This campaign is paused. Resume it first.'
            else 'This campaign was cancelled. Make a new one for those who are left.'
        end;
    end if;
    v_why := private.why_connection_cannot_send(v_run.connection_id);
    if v_why is not null then
        raise exception using errcode = 'PT400', message = v_why;
    end if;

    if v_run.failed > 0 and v_run.made_position = 0 then
        select
            begun.retried,
            begun.left_out
        into new.retried, new.left_out
        from private.begin_again(v_run, v_campaign, new.statuses) as begun;
    else
        select
            tries.retried,
            tries.left_out
        into new.retried, new.left_out
        from private.mark_tries(v_run, new.statuses) as tries;
    end if;
    if new.retried > 0 and v_campaign.status in ('completed', 'failed') then
        update public.campaigns as campaign
        set
            status = 'scheduled',
            status_reason = null,
            updated_at = now()
        where campaign.id = v_campaign.id;
    end if;
    new.owner_id := v_run.owner_id;
    new.connection_id := v_run.connection_id;
    new.created_at := now();
    return new;
end
$$;
revoke all on function private.retry_run from public;

create or replace trigger retry_run before insert on public.campaign_retries
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.retry_run('user');
create or replace trigger retry_run_for_service before insert on public.campaign_retries
for each row when (
    not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.retry_run();

-- Has the messages of a run that came to what is named tried again, where that may come to
-- something else: how many are, and who is left out and why. What is unconfirmed may have gone out,
-- and is tried again only if it is named.
create or replace function public.retry_campaign_run(
    run_id uuid, statuses text[] default '{failed}'
)
returns table (retried integer, left_out jsonb)
language plpgsql
volatile
set search_path = ''
as $$
begin
    return query
    insert into public.campaign_retries as retry (run_id, statuses, owner_id)
    values (
        retry_campaign_run.run_id,
        coalesce(retry_campaign_run.statuses, '{failed}'),
        -- The guard writes the run's.
        auth.uid()
    )
    returning retry.retried, retry.left_out;
end
$$;
revoke all on function public.retry_campaign_run from public, anon;
grant execute on function public.retry_campaign_run to authenticated, service_role;
comment on function public.retry_campaign_run(uuid, text[]) is
'Has failed (if named: unconfirmed, cancelled) messages of a run tried again.';
