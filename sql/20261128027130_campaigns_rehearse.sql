-- The daemon's part of a rehearsal: whose turn it is, a portion of it, and what nobody needs any
-- more. One owner's campaigns never keep it from another's, nor from sending.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Deletes lines that no rehearsal shows any more, at most so many, and rehearsals of which nobody
-- has asked for a day.
create or replace function private.forget_rehearsals(p_limit integer)
returns void
language sql
volatile
set search_path = ''
as $$
    with stale as (
        select rehearsal.campaign_id
        from public.campaign_rehearsals as rehearsal
        where rehearsal.requested_at < now() - interval '1 day'
        order by rehearsal.requested_at
        limit 10
        for update skip locked
    ),
    forgotten as (
        delete from public.campaign_rehearsals as rehearsal
        using stale
        where rehearsal.campaign_id = stale.campaign_id
    ),
    ended as materialized (
        select given.lines_id
        from private.ended_rehearsals as given
        limit 1
        for update skip locked
    ),
    line as materialized (
        select
            given.lines_id,
            given.position
        from public.campaign_rehearsal_lines as given
        where given.lines_id = (select ended.lines_id from ended)
        order by given.position
        limit p_limit
    ),
    deleted as (
        delete from public.campaign_rehearsal_lines as given
        using line
        where given.lines_id = line.lines_id and given.position = line.position
    )
    delete from private.ended_rehearsals as given
    using ended
    where given.lines_id = ended.lines_id
        and (select count(*) from line) < p_limit
$$;
revoke all on function private.forget_rehearsals from public;
grant execute on function private.forget_rehearsals to service_role;

-- The rehearsal whose turn it is, null where none is ready, and the file that it would send;
-- `is_waiting`: whether any will be soon. Owners take turns, each at most five times a second, and
-- each has so many recipients an hour.
create or replace function public.take_rehearsal(p_most_an_hour integer default 2000000)
returns table (campaign_id uuid, is_waiting boolean, attachment json)
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_owner uuid;
begin
    perform private.forget_rehearsals(2000);
    select
        rehearsal.campaign_id,
        rehearsal.owner_id
    into campaign_id, v_owner
    from public.campaign_rehearsals as rehearsal
    left join private.rehearsal_turns as turn on turn.owner_id = rehearsal.owner_id
    where rehearsal.finished_at is null
        and (turn.owner_id is null or (
            turn.turn_at <= clock_timestamp() - interval '0.2 seconds'
            and (turn.hour < date_trunc('hour', now()) or turn.number < p_most_an_hour)
        ))
    order by turn.turn_at nulls first, rehearsal.requested_at
    limit 1
    for no key update of rehearsal skip locked;
    if v_owner is not null then
        insert into private.rehearsal_turns as turn (owner_id, turn_at, hour)
        values (v_owner, clock_timestamp(), date_trunc('hour', now()))
        on conflict (owner_id) do update
        set
            turn_at = excluded.turn_at,
            hour = excluded.hour,
            number = case when turn.hour = excluded.hour then turn.number else 0 end;
        attachment := (
            select private.attachment_of(campaign.*)
            from public.campaigns as campaign
            where campaign.id = take_rehearsal.campaign_id
        );
    end if;
    is_waiting := campaign_id is not null or exists (
        select
        from public.campaign_rehearsals as rehearsal
        left join private.rehearsal_turns as turn on turn.owner_id = rehearsal.owner_id
        where rehearsal.finished_at is null
            and (turn.owner_id is null or turn.hour < date_trunc('hour', now())
                or turn.number < p_most_an_hour)
    );
    return next;
end
$$;
revoke all on function public.take_rehearsal from public, anon, authenticated;
grant execute on function public.take_rehearsal to service_role;

-- Works out the next recipients of a rehearsal, once all their numbers are judged; before that it
-- tells which are not. One whose campaign or template has changed begins anew. `p_fault`: why none
-- of it can be sent. Ends with the total.
create or replace function public.advance_rehearsal(
    p_campaign_id uuid, p_rules_version text, p_limit integer default 1000,
    p_gateway text default null, p_fault text default null,
    p_most_an_hour integer default 2000000
)
returns table (is_done boolean, worked integer, country_code text, to_judge text[])
language plpgsql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
declare
    v_rehearsal public.campaign_rehearsals;
    v_campaign public.campaigns;
    v_portion record;
    v_number integer;
begin
    select campaign.* into v_campaign
    from public.campaigns as campaign
    where campaign.id = p_campaign_id;
    select rehearsal.* into v_rehearsal
    from public.campaign_rehearsals as rehearsal
    where rehearsal.campaign_id = p_campaign_id and rehearsal.finished_at is null
    for no key update skip locked;
    if not found then
        return;
    end if;
    country_code := coalesce((
        select settings.country_code
        from public.connection_settings as settings
        where settings.connection_id = v_campaign.connection_id
    ), '');
    is_done := false;
    if v_rehearsal.revision <> v_campaign.revision
        or v_rehearsal.template_version is distinct from (
            select content.version from private.campaign_content(v_campaign) as content
        )
    then
        v_rehearsal := private.begun_rehearsal(v_campaign);
        worked := v_rehearsal.progress;
    else
        if not v_rehearsal.is_whole then
            -- From the beginning: the first lines were made without a word on their numbers.
            v_rehearsal.is_whole := true;
            v_rehearsal.progress := 0;
            v_rehearsal.will_be_sent := 0;
            v_rehearsal.faults := '{}';
            v_rehearsal.duplicates := 0;
            v_rehearsal.opted_out := 0;
            v_rehearsal.first_due_at := null;
            v_rehearsal.last_due_at := null;
            v_rehearsal.frozen_key := null;
        end if;
        select
            portion.rehearsal,
            portion.worked,
            portion.to_judge
        into v_portion
        from private.rehearse_portion(
            v_rehearsal, v_campaign, p_limit, p_rules_version, p_gateway, p_fault
        ) as portion;
        to_judge := v_portion.to_judge;
        worked := v_portion.worked;
        if to_judge is not null then
            return next;
            return;
        end if;
        v_rehearsal := v_portion.rehearsal;
        is_done := worked < p_limit;
    end if;
    insert into private.rehearsal_turns as turn (owner_id, number)
    values (v_rehearsal.owner_id, worked)
    on conflict (owner_id) do update
    set
        hour = excluded.hour,
        number = excluded.number
            + case when turn.hour = excluded.hour then turn.number else 0 end
    returning turn.number into v_number;
    v_rehearsal.waiting_reason := case when v_number >= p_most_an_hour and not is_done then
        format(
            '%s recipients were rehearsed in this hour, which are the most. It goes on at %s UTC.',
            p_most_an_hour,
            to_char(
                (date_trunc('hour', now()) + interval '1 hour') at time zone 'UTC', 'HH24:MI'
            )
        ) end;
    if is_done then
        delete from public.campaign_rehearsal_lines as line
        where line.lines_id = v_rehearsal.lines_id and line.position > v_rehearsal.progress;
        v_rehearsal.total := v_rehearsal.progress;
        v_rehearsal.finished_at := now();
    end if;
    update public.campaign_rehearsals as rehearsal
    set
        revision = v_rehearsal.revision,
        template_version = v_rehearsal.template_version,
        progress = v_rehearsal.progress,
        total = v_rehearsal.total,
        will_be_sent = v_rehearsal.will_be_sent,
        faults = v_rehearsal.faults,
        duplicates = v_rehearsal.duplicates,
        opted_out = v_rehearsal.opted_out,
        waiting_reason = v_rehearsal.waiting_reason,
        finished_at = v_rehearsal.finished_at,
        lines_id = v_rehearsal.lines_id,
        parts = v_rehearsal.parts,
        starts_at = v_rehearsal.starts_at,
        timezone = v_rehearsal.timezone,
        first_due_at = v_rehearsal.first_due_at,
        last_due_at = v_rehearsal.last_due_at,
        is_whole = v_rehearsal.is_whole,
        frozen_key = v_rehearsal.frozen_key
    where rehearsal.campaign_id = p_campaign_id;
    if is_done and v_rehearsal.starts_at is not null then
        update public.campaign_rehearsals as rehearsal
        set
            first_departure_at = estimate.begins_at,
            last_departure_at = estimate.ends_at
        from private.estimate_of(p_campaign_id) as estimate
        where rehearsal.campaign_id = p_campaign_id;
    end if;
    return next;
end
$$;
revoke all on function public.advance_rehearsal from public, anon, authenticated;
grant execute on function public.advance_rehearsal to service_role;

-- Ends a rehearsal that the database refuses, with the reason, so that the others come to theirs.
create or replace function public.stop_rehearsal(p_campaign_id uuid, p_why text)
returns void
language sql
volatile
set search_path = ''
set lock_timeout = '2s'
as $$
    update public.campaign_rehearsals as rehearsal
    set
        finished_at = now(),
        waiting_reason = left(p_why, 500)
    where rehearsal.campaign_id = p_campaign_id and rehearsal.finished_at is null
$$;
revoke all on function public.stop_rehearsal from public, anon, authenticated;
grant execute on function public.stop_rehearsal to service_role;
