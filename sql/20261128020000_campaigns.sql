-- One message to many, once or again and again. A campaign says what, to whom and when; each time
-- it is sent is a run, whose recipients are frozen when it begins. All that either does is to write
-- rows of scheduled_messages.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

create table if not exists public.campaigns (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid not null,
    created_by uuid default auth.uid(),
    connection_id text not null,
    name text not null,
    -- What is sent: a template's, or this, both with places for names (private.cut).
    template_id uuid,
    message text not null default '',
    type text not null default 'text',
    media_url text,
    media json,
    caption text,
    -- Values for all recipients; a recipient's own come first, a template's defaults last.
    variables jsonb not null default '{}',
    -- {"contacts": [ids]} | {"labels": […], "match": "any"|"all"} | {"numbers": […]}, each with an
    -- optional "except".
    audience jsonb not null default '{}',
    scheduled_at timestamptz,
    timezone text,
    -- Whose wall clock `scheduled_at` is read on: everybody at one instant, or each at that time of
    -- their own day.
    zone_of text not null default 'campaign',
    is_recurring boolean not null default false,
    recurrence_pattern text,
    recurrence_end_at timestamptz,
    max_recipients integer,
    at_daily_limit text not null default 'defer',
    -- What could not go out for so long after its time is not sent any more.
    give_up_after interval not null default interval '12 hours',
    -- A run pauses itself when of its last hundred more than this share came to nothing.
    stop_at_failures numeric not null default 0.3,
    status text not null default 'draft',
    status_reason text,
    -- Where the connection asks for it: who let it go on, an admin or the owner other than who
    -- activated or last changed it.
    approved_by uuid,
    -- The database's: when it was approved; who activated it, and when its times began; the next
    -- run's instant, null where none comes; the wall time that a series repeats; and how often what
    -- is sent, to whom and when was changed.
    approved_at timestamptz,
    activated_by uuid,
    activated_at timestamptz,
    next_run_at timestamptz,
    series_anchor timestamp,
    revision integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (id, owner_id),
    foreign key (template_id, owner_id) references public.message_templates (id, owner_id),
    constraint campaigns_status_known check (
        status in ('draft', 'scheduled', 'paused', 'completed', 'failed', 'cancelled')
    ),
    constraint campaigns_next_run_is_scheduled check (
        next_run_at is null or status in ('scheduled', 'paused')
    ),
    constraint campaigns_name_given check (name ~ '\S' and length(name) <= 200),
    constraint campaigns_type_known check (
        type in ('text', 'media', 'image', 'video', 'audio', 'document')
    ),
    constraint campaigns_lengths check (
        length(message) <= 8192
        and coalesce(length(caption), 0) <= 8192
        and coalesce(length(media_url), 0) <= 4096
        and coalesce(length(media::text), 0) <= 16384
        and coalesce(length(recurrence_pattern), 0) <= 1024
    ),
    constraint campaigns_variables_object check (
        jsonb_typeof(variables) = 'object' and length(variables::text) <= 65536
    ),
    constraint campaigns_audience_object check (
        jsonb_typeof(audience) = 'object' and length(audience::text) <= 4194304
    ),
    constraint campaigns_zone_of_known check (zone_of in ('campaign', 'recipient')),
    constraint campaigns_sane_times check (
        scheduled_at >= '2000-01-01 00:00+00' and scheduled_at < '2200-01-01 00:00+00'
    ),
    constraint campaigns_recurring_has_pattern check (
        not is_recurring or recurrence_pattern is not null
    ),
    constraint campaigns_max_recipients_positive check (max_recipients >= 1),
    constraint campaigns_at_daily_limit_known check (at_daily_limit in ('defer', 'fail')),
    constraint campaigns_give_up_after_sane check (
        give_up_after >= interval '1 minute' and give_up_after <= interval '7 days'
    ),
    constraint campaigns_stop_at_failures_share check (stop_at_failures between 0 and 1)
);
create index if not exists campaigns_owner_id_idx on public.campaigns (owner_id, created_at);
create index if not exists campaigns_connection_id_idx on public.campaigns (connection_id);
create index if not exists campaigns_template_id_idx on public.campaigns (template_id, owner_id);
create index if not exists campaigns_next_run_at_idx
on public.campaigns (next_run_at) where status = 'scheduled';
comment on table public.campaigns is 'scheduled messages: one message to many.';
comment on constraint campaigns_status_known on public.campaigns is
'There is no such status of a campaign.';
comment on constraint campaigns_name_given on public.campaigns is
'A campaign needs a name of at most 200 characters.';
comment on constraint campaigns_type_known on public.campaigns is
'A campaign sends a text, an image, a video, an audio or a document.';
comment on constraint campaigns_lengths on public.campaigns is
'The message, or a part of it, is too long.';
comment on constraint campaigns_variables_object on public.campaigns is
'The variables are an object of names and values, at most 64 kB of it.';
comment on constraint campaigns_audience_object on public.campaigns is
'The audience is an object, such as {"labels": ["customers"]}, of at most 4 MB.';
comment on constraint campaigns_zone_of_known on public.campaigns is
'The time zone is the campaign''s or the recipient''s.';
comment on constraint campaigns_sane_times on public.campaigns is
'The times must lie between the years 2000 and 2199.';
comment on constraint campaigns_recurring_has_pattern on public.campaigns is
'A recurring campaign needs a recurrence pattern, such as daily, weekly or monthly.';
comment on constraint campaigns_max_recipients_positive on public.campaigns is
'The most recipients must be one or more.';
comment on constraint campaigns_at_daily_limit_known on public.campaigns is
'At the daily limit a campaign waits (defer) or fails (fail).';
comment on constraint campaigns_give_up_after_sane on public.campaigns is
'A campaign gives up after a minute at the earliest and seven days at the latest.';
comment on constraint campaigns_stop_at_failures_share on public.campaigns is
'The share of failures that stops a campaign lies between 0 and 1.';

create table if not exists public.campaign_runs (
    id uuid primary key default gen_random_uuid(),
    campaign_id uuid not null,
    owner_id uuid not null,
    connection_id text not null,
    occurrence_at timestamptz not null,
    template_version integer,
    status text not null default 'processing',
    status_reason text,
    -- Null until all recipients are frozen; from then on the six below add up to it, before that to
    -- frozen_position.
    total integer,
    pending integer not null default 0,
    sent integer not null default 0,
    failed integer not null default 0,
    unconfirmed integer not null default 0,
    skipped integer not null default 0,
    cancelled integer not null default 0,
    -- Of those that were sent: what WhatsApp told afterwards. Who has read it has it delivered.
    delivered integer not null default 0,
    read integer not null default 0,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    estimated_finish_at timestamptz,
    -- The database's: how far the freezing came (a contact's id, a number's place), the last
    -- position that was frozen, and up to which messages were made; how many there are still to be
    -- made.
    frozen_key text,
    frozen_position integer not null default 0,
    made_position integer not null default 0,
    -- Where each recipient has a time of their own: that of the last for whom one was made.
    made_due_at timestamptz,
    unmade integer not null default 0,
    -- From which position on, and of new tries since when, failures count towards its stopping by
    -- itself.
    judged_from integer not null default 0,
    judged_since timestamptz,
    -- When messages of it were last asked to be tried again.
    retried_at timestamptz,
    -- Until when there is nothing to do for it, null where there is.
    rests_until timestamptz,
    advanced_at timestamptz not null default now(),
    unique (campaign_id, occurrence_at),
    unique (id, owner_id),
    foreign key (campaign_id, owner_id)
    references public.campaigns (id, owner_id) on delete cascade,
    constraint campaign_runs_status_known check (
        status in ('processing', 'paused', 'completed', 'partial', 'failed', 'cancelled')
    ),
    constraint campaign_runs_counts_add_up check (
        total is null or total = pending + sent + failed + unconfirmed + skipped + cancelled
    ),
    constraint campaign_runs_over_has_an_end check (
        (finished_at is null) = (status in ('processing', 'paused'))
    ),
    constraint campaign_runs_over_has_nothing_pending check (finished_at is null or pending = 0)
)
with (fillfactor = 50);
create index if not exists campaign_runs_owner_id_idx
on public.campaign_runs (owner_id, started_at);
create index if not exists campaign_runs_campaign_id_idx
on public.campaign_runs (campaign_id, owner_id);
create index if not exists campaign_runs_open_idx
on public.campaign_runs (advanced_at) where finished_at is null;
comment on table public.campaign_runs is 'scheduled messages: each time that a campaign is sent.';

create table if not exists public.campaign_recipients (
    run_id uuid not null references public.campaign_runs (id) on delete cascade,
    position integer not null,
    -- Null for a bare number.
    contact_id text,
    address text,
    -- The number as it was written.
    raw text,
    name text,
    variables jsonb not null default '{}',
    timezone text,
    -- By the recipient's own clock, where the campaign goes by that.
    due_at timestamptz,
    -- Why nothing is sent to this one; such a recipient is skipped.
    fault text,
    -- The try that is still to be made, where somebody asked for another one: such a recipient is
    -- pending.
    next_try integer,
    primary key (run_id, position)
);
create unique index if not exists campaign_recipients_address_key
on public.campaign_recipients (run_id, address) where fault is null;
create index if not exists campaign_recipients_due_at_idx
on public.campaign_recipients (run_id, due_at, position)
where due_at is not null and fault is null;
create index if not exists campaign_recipients_next_try_idx
on public.campaign_recipients (run_id, position) where next_try is not null;
comment on table public.campaign_recipients is
'scheduled messages: whom a run writes to, as it was when the run began.';

create or replace trigger name_timezone before insert or update on public.campaigns
for each row when (new.timezone is not null) execute function private.name_timezone();

-- Differences that could not be counted at once, because somebody was counting
-- (private.count_outcomes).
create table if not exists private.run_tallies (
    id bigint generated always as identity primary key,
    run_id uuid not null,
    pending integer not null,
    sent integer not null,
    failed integer not null,
    unconfirmed integer not null,
    skipped integer not null,
    cancelled integer not null,
    delivered integer not null,
    read integer not null
);
create index if not exists run_tallies_run_id_idx on private.run_tallies (run_id);
alter table private.run_tallies enable row level security;
grant select, insert, delete on private.run_tallies to service_role;

-- What `recipient` (Python) found of a number as it was written, read with a connection's country.
-- `rules_version` names the numbering plans and the country that it was read with: others are asked
-- again.
create table if not exists private.judged_numbers (
    raw text not null,
    country_code text not null default '',
    address text,
    fault text,
    -- The zone that the number tells of, '' where it tells none; null where nobody asked.
    timezone text,
    rules_version text not null,
    primary key (raw, country_code)
);
alter table private.judged_numbers enable row level security;
grant select, insert, update, delete on private.judged_numbers to service_role;

alter table public.campaigns enable row level security;
alter table public.campaign_runs enable row level security;
alter table public.campaign_recipients enable row level security;
revoke all on public.campaigns, public.campaign_runs, public.campaign_recipients
from public, anon, authenticated;
grant select, insert, update, delete on public.campaigns to authenticated, service_role;
grant select on public.campaign_runs, public.campaign_recipients to authenticated;
grant select, insert, update, delete on public.campaign_runs, public.campaign_recipients
to service_role;
drop policy if exists campaigns_policy on public.campaigns;
create policy campaigns_policy on public.campaigns
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
drop policy if exists campaign_runs_policy on public.campaign_runs;
create policy campaign_runs_policy on public.campaign_runs
for select to authenticated
using (
    owner_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);
drop policy if exists campaign_recipients_policy on public.campaign_recipients;
create policy campaign_recipients_policy on public.campaign_recipients
for select to authenticated
using (
    exists (
        select 1 from public.campaign_runs as run
        where run.id = campaign_recipients.run_id
    )
);
