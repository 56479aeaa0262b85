-- What a campaign would send, to whom, and what is wrong with whom, before it sends anything:
-- worked out by the functions that freeze a run. The first lines are there at once, in the
-- transaction that asks; the whole is the daemon's work, in portions.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

create table if not exists public.campaign_rehearsals (
    campaign_id uuid primary key references public.campaigns (id) on delete cascade,
    owner_id uuid not null,
    connection_id text not null,
    -- What it is a rehearsal of: as the campaign and its template were.
    revision integer not null,
    template_version integer,
    -- How many recipients are worked out; the total is null until all are.
    progress integer not null default 0,
    total integer,
    will_be_sent integer not null default 0,
    -- How many of each kind of fault; who is in it twice and who wants nothing are counted apart.
    faults jsonb not null default '{}',
    duplicates integer not null default 0,
    opted_out integer not null default 0,
    first_departure_at timestamptz,
    last_departure_at timestamptz,
    -- Why it does not go on, or could not be worked out.
    waiting_reason text,
    requested_at timestamptz not null default now(),
    finished_at timestamptz,
    -- The database's: whose lines are its (the old ones go in portions), the cut text and the time
    -- as they are shown, the first and the last by the recipients' own clocks, whether the daemon
    -- has begun, and how far it came in the audience.
    lines_id uuid not null default gen_random_uuid(),
    parts text[] not null default '{}',
    starts_at timestamptz,
    timezone text not null default 'UTC',
    first_due_at timestamptz,
    last_due_at timestamptz,
    is_whole boolean not null default false,
    frozen_key text,
    constraint campaign_rehearsals_total_is_all check (total is null or total = progress)
);
create unique index if not exists campaign_rehearsals_lines_id_key
on public.campaign_rehearsals (lines_id);
create index if not exists campaign_rehearsals_open_idx
on public.campaign_rehearsals (owner_id, requested_at) where finished_at is null;
create index if not exists campaign_rehearsals_owner_id_idx
on public.campaign_rehearsals (owner_id);
create index if not exists campaign_rehearsals_requested_at_idx
on public.campaign_rehearsals (requested_at);
comment on table public.campaign_rehearsals is
'scheduled messages: what a campaign would send, and what is wrong with whom.';

create table if not exists public.campaign_rehearsal_lines (
    lines_id uuid not null,
    position integer not null,
    contact_id text,
    name text,
    address text,
    variables jsonb not null default '{}',
    -- Where the recipient is, if anybody knows; and when its time is, where everybody's own clock
    -- counts.
    timezone text,
    due_at timestamptz,
    fault text,
    fault_kind text,
    -- False where nobody has judged the number yet; then it stands there as it was written.
    is_checked boolean not null default true,
    primary key (lines_id, position)
);
create index if not exists campaign_rehearsal_lines_address_idx
on public.campaign_rehearsal_lines (lines_id, address) where fault is null;
create index if not exists campaign_rehearsal_lines_faults_idx
on public.campaign_rehearsal_lines (lines_id, fault_kind, position) where fault is not null;
comment on table public.campaign_rehearsal_lines is
'scheduled messages: the recipients of a rehearsal, one a line.';

-- Lines that no rehearsal shows any more, until the daemon has deleted them.
create table if not exists private.ended_rehearsals (
    lines_id uuid primary key
);
alter table private.ended_rehearsals enable row level security;
grant select, insert, update, delete on private.ended_rehearsals to service_role;

-- Whose rehearsals were last worked on, and how many recipients of theirs in that hour.
create table if not exists private.rehearsal_turns (
    owner_id uuid primary key,
    turn_at timestamptz not null default now(),
    hour timestamptz not null default date_trunc('hour', now()),
    number integer not null default 0
);
alter table private.rehearsal_turns enable row level security;
grant select, insert, update, delete on private.rehearsal_turns to service_role;

alter table public.campaign_rehearsals enable row level security;
alter table public.campaign_rehearsal_lines enable row level security;
revoke all on public.campaign_rehearsals, public.campaign_rehearsal_lines
from public, anon, authenticated;
grant select, insert, update, delete on public.campaign_rehearsals to authenticated, service_role;
grant select on public.campaign_rehearsal_lines to authenticated;
grant select, insert, update, delete on public.campaign_rehearsal_lines to service_role;
drop policy if exists campaign_rehearsals_policy on public.campaign_rehearsals;
create policy campaign_rehearsals_policy on public.campaign_rehearsals
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
drop policy if exists campaign_rehearsal_lines_policy on public.campaign_rehearsal_lines;
create policy campaign_rehearsal_lines_policy on public.campaign_rehearsal_lines
for select to authenticated
using (
    exists (
        select 1 from public.campaign_rehearsals as rehearsal
        where rehearsal.lines_id = campaign_rehearsal_lines.lines_id
    )
);

-- Works out the next recipients and adds them up; what it returns is not stored yet. Without rules,
-- as for a person who waits, numbers that nobody has judged are left unchecked; with them they are
-- told and nothing else is done. A number that came before counts as a duplicate, among the lines
-- that are worked out. `p_fault`: why none of it can be sent, whoever gets it.
create or replace function private.rehearse_portion(
    p_rehearsal public.campaign_rehearsals, p_campaign public.campaigns, p_limit integer,
    p_rules_version text, p_gateway text, p_fault text,
    out rehearsal public.campaign_rehearsals, out worked integer, out to_judge text[]
)
language plpgsql
volatile
set search_path = ''
set enable_seqscan = off
as $$
declare
    v_candidates private.candidate[];
    v_faults jsonb;
begin
    rehearsal := p_rehearsal;
    worked := 0;
    select
        array_agg(candidate.*),
        array_agg(distinct (candidate.recipient).raw)
            filter (where not (candidate.recipient).is_judged)
    into v_candidates, to_judge
    from private.next_recipients(
        p_campaign, rehearsal.template_version, rehearsal.starts_at, rehearsal.frozen_key, p_limit,
        p_rules_version, p_gateway
    ) as candidate;
    if to_judge is not null and p_rules_version is not null then
        return;
    end if;
    with line as materialized (
        select
            rehearsal.progress + given.nth as position,
            given.recipient as it,
            given.due_at,
            case
                when (given.recipient).fault is null and (given.is_repeated or earlier.is_there)
                    then 'duplicate'
                else coalesce(
                    (given.recipient).fault_kind, case when p_fault is not null then 'content' end
                )
            end as fault_kind
        from unnest(v_candidates) with ordinality
            as given (recipient, key, is_repeated, due_at, nth)
        left join lateral (
            select true as is_there
            from public.campaign_rehearsal_lines as before
            where before.lines_id = rehearsal.lines_id
                and before.address = (given.recipient).address
                and before.fault is null
                and before.position <= rehearsal.progress
            limit 1
        ) as earlier on true
    ),
    written as (
        insert into public.campaign_rehearsal_lines as kept (
            lines_id, position, contact_id, name, address, variables, timezone, due_at, fault,
            fault_kind, is_checked
        )
        select
            rehearsal.lines_id,
            line.position,
            (line.it).contact_id,
            (line.it).name,
            coalesce((line.it).address, (line.it).raw),
            (line.it).variables,
            (line.it).timezone,
            line.due_at,
            case line.fault_kind
                when 'duplicate' then 'This number is in the audience already.'
                when 'content' then p_fault
                else (line.it).fault
            end,
            line.fault_kind,
            (line.it).is_judged
        from line
        on conflict (lines_id, position) do update
        set
            contact_id = excluded.contact_id,
            name = excluded.name,
            address = excluded.address,
            variables = excluded.variables,
            timezone = excluded.timezone,
            due_at = excluded.due_at,
            fault = excluded.fault,
            fault_kind = excluded.fault_kind,
            is_checked = excluded.is_checked
        returning kept.fault_kind, kept.is_checked, kept.due_at
    )
    select
        sum(counted.number),
        rehearsal.will_be_sent + coalesce(
            sum(counted.number) filter (where counted.fault_kind is null and counted.is_checked), 0
        ),
        rehearsal.duplicates + coalesce(
            sum(counted.number) filter (where counted.fault_kind = 'duplicate'), 0
        ),
        rehearsal.opted_out + coalesce(
            sum(counted.number) filter (where counted.fault_kind = 'opted_out'), 0
        ),
        jsonb_object_agg(
            counted.fault_kind,
            counted.number + coalesce((rehearsal.faults -> counted.fault_kind)::integer, 0)
        ) filter (where counted.fault_kind not in ('duplicate', 'opted_out')),
        least(
            rehearsal.first_due_at,
            min(counted.first_due_at) filter (where counted.fault_kind is null)
        ),
        greatest(
            rehearsal.last_due_at,
            max(counted.last_due_at) filter (where counted.fault_kind is null)
        )
    into
        worked, rehearsal.will_be_sent, rehearsal.duplicates, rehearsal.opted_out, v_faults,
        rehearsal.first_due_at, rehearsal.last_due_at
    from (
        select
            written.fault_kind,
            written.is_checked or written.fault_kind is not null as is_checked,
            count(*)::integer as number,
            min(written.due_at) as first_due_at,
            max(written.due_at) as last_due_at
        from written
        group by 1, 2
    ) as counted;
    worked := coalesce(worked, 0);
    rehearsal.faults := rehearsal.faults || coalesce(v_faults, '{}');
    rehearsal.progress := rehearsal.progress + worked;
    rehearsal.frozen_key := coalesce(
        v_candidates[cardinality(v_candidates)].key, rehearsal.frozen_key
    );
end
$$;
revoke all on function private.rehearse_portion from public;
grant execute on function private.rehearse_portion to service_role;

-- A rehearsal of a campaign as it is now, with its first lines; not stored yet.
create or replace function private.begun_rehearsal(p_campaign public.campaigns)
returns public.campaign_rehearsals
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_first_lines constant integer := 500;
    v_begun public.campaign_rehearsals;
begin
    v_begun.campaign_id := p_campaign.id;
    v_begun.owner_id := p_campaign.owner_id;
    v_begun.connection_id := p_campaign.connection_id;
    v_begun.revision := p_campaign.revision;
    v_begun.progress := 0;
    v_begun.will_be_sent := 0;
    v_begun.faults := '{}';
    v_begun.duplicates := 0;
    v_begun.opted_out := 0;
    v_begun.requested_at := now();
    v_begun.lines_id := gen_random_uuid();
    v_begun.is_whole := false;
    select content.version, content.parts
    into v_begun.template_version, v_begun.parts
    from private.campaign_content(p_campaign) as content;
    v_begun.parts := coalesce(v_begun.parts, '{}');
    v_begun.starts_at := coalesce(p_campaign.next_run_at, p_campaign.scheduled_at);
    v_begun.timezone := coalesce(private.campaign_zone(p_campaign), 'UTC');
    return (
        private.rehearse_portion(v_begun, p_campaign, v_first_lines, null, null, null)
    ).rehearsal;
end
$$;
revoke all on function private.begun_rehearsal from public;
grant execute on function private.begun_rehearsal to service_role;

-- Whoever writes a campaign's rehearsal asks for it: what stands in the row is written here. What
-- was asked for less than a minute ago is not done again while campaign and template are the same;
-- contacts change without a word, so after a minute it is. Who asks first takes the campaign's row,
-- so that two who do it at once make one.
create or replace function private.guard_rehearsal()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_most_open constant integer := 20;
    v_by_user constant boolean := tg_nargs > 0;
    v_campaign public.campaigns;
    v_before public.campaign_rehearsals;
    v_why text;
begin
    if tg_op = 'INSERT' then
        select campaign.* into v_campaign
        from public.campaigns as campaign
        where campaign.id = new.campaign_id
        for no key update;
    else
        select campaign.* into v_campaign
        from public.campaigns as campaign
        where campaign.id = old.campaign_id;
    end if;
    if v_by_user then
        perform private.refuse_former_owner(
            coalesce(v_campaign.connection_id, ''), v_campaign.owner_id, array['admin', 'staff']
        );
    end if;
    if v_campaign.id is null then
        raise exception 'There is no such campaign.' using errcode = 'PT400';
    end if;
    select rehearsal.* into v_before
    from public.campaign_rehearsals as rehearsal
    where rehearsal.campaign_id = v_campaign.id;
    if v_before.campaign_id is not null and (
        -- An upsert, which becomes an update.
        tg_op = 'INSERT'
        or v_before.requested_at > now() - interval '1 minute'
        and v_before.revision = v_campaign.revision
        and v_before.template_version is not distinct from (
            select content.version from private.campaign_content(v_campaign) as content
        )
    ) then
        return v_before;
    end if;
    v_why := private.why_no_audience(v_campaign);
    if v_why is not null then
        raise exception using errcode = 'PT400', message = v_why;
    end if;
    if v_by_user and (
        select count(*) >= v_most_open
        from public.campaign_rehearsals as rehearsal
        where rehearsal.owner_id = v_campaign.owner_id
            and rehearsal.finished_at is null
            and rehearsal.campaign_id <> v_campaign.id
    ) then
        raise exception using errcode = 'PT429', message = format(
            '%s campaigns are being rehearsed. Wait until one of them is ready.', v_most_open
        );
    end if;
    return private.begun_rehearsal(v_campaign);
end
$$;
revoke all on function private.guard_rehearsal from public;

create or replace trigger guard_rehearsal
before insert or update on public.campaign_rehearsals
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_rehearsal('user');

-- Of the service key, an insert asks, and an update that changes nothing, as an upsert is; others
-- are the daemon's progress.
create or replace trigger guard_rehearsal_by_service
before insert on public.campaign_rehearsals
for each row when (
    not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.guard_rehearsal();
create or replace trigger guard_rehearsal_again_by_service
before update on public.campaign_rehearsals
for each row when (
    not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
    and new.* is not distinct from old.*
)
execute function private.guard_rehearsal();

create or replace function private.end_rehearsal_lines()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    insert into private.ended_rehearsals (lines_id)
    values (old.lines_id)
    on conflict do nothing;
    return null;
end
$$;
revoke all on function private.end_rehearsal_lines from public;

create or replace trigger end_rehearsal_lines after delete on public.campaign_rehearsals
for each row execute function private.end_rehearsal_lines();
create or replace trigger end_former_rehearsal_lines after update on public.campaign_rehearsals
for each row when (new.lines_id <> old.lines_id) execute function private.end_rehearsal_lines();

-- The recipients of a rehearsal after a position, as a page shows them, with the text that each
-- will get. What will not be sent has no time. Whose it is the policies say.
-- noqa: disable=RF01,RF03,RF06,ST05,ST06,LT02
create or replace function public.rehearse_campaign(
    id uuid, after integer default 0, lines integer default 50
)
returns table (
    "position" integer,
    name text,
    address text,
    local_time timestamp,
    text text,
    fault text,
    fault_kind text,
    is_checked boolean
)
language sql
stable
set search_path = ''
begin atomic
    select
        line.position,
        line.name,
        line.address,
        case when line.fault is null
            then coalesce(line.due_at, rehearsal.starts_at)
            at time zone coalesce(line.timezone, rehearsal.timezone)
        end as local_time,
        left(private.render(rehearsal.parts, line.variables), 8192) as text,
        line.fault,
        line.fault_kind,
        line.is_checked
    from public.campaign_rehearsals as rehearsal
    cross join lateral (
        select given.*
        from public.campaign_rehearsal_lines as given
        where given.lines_id = rehearsal.lines_id
            and given.position > rehearse_campaign.after
        order by given.position
        limit least(greatest(rehearse_campaign.lines, 0), 1000)
    ) as line
    where rehearsal.campaign_id = rehearse_campaign.id
    order by line.position;
end;
-- noqa: enable=RF01,RF03,RF06,ST05,ST06,LT02
revoke all on function public.rehearse_campaign from public, anon;
grant execute on function public.rehearse_campaign to authenticated, service_role;
