-- The upstream application's tables, as far as scheduled messages touch them, with policies of its own.
create table public.connections (
    id text primary key,
    name text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz default now(),
    connected boolean default false,
    qr text,
    phone_number text,
    webhook_config jsonb,
    user_id text,
    api_key varchar(255) not null default 'wha_' || substr(md5(random()::text), 1, 20),
    expired_date timestamptz default now() + interval '2 days',
    server text,
    status text,
    ai_agent_id text
);
alter table public.connections enable row level security;
create policy "Own connections" on public.connections for all using (user_id = auth.uid()::text);

create table public.contacts (
    id bigserial primary key,
    owner_id uuid,
    phone_number varchar(20) not null,
    contact_name varchar(100),
    email varchar(100),
    labels text[] default '{}',
    is_blocked boolean default false,
    is_favorite boolean default false,
    notes text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    agent_id text,
    unique (owner_id, phone_number)
);
alter table public.contacts enable row level security;
create policy "Own contacts" on public.contacts for all using (owner_id = auth.uid());

create table public.broadcast_jobs (
    id uuid primary key default gen_random_uuid(),
    connection_id text,
    type text not null default 'text',
    template_name text,
    variables jsonb,
    contacts text[] default '{}',
    message text,
    media_url text,
    caption text,
    status text not null default 'queued',
    progress integer default 0,
    total_contacts integer default 0,
    sent_count integer default 0,
    failed_count integer default 0,
    skipped_count integer default 0,
    schedule timestamptz,
    speed text default 'normal',
    is_group boolean default false,
    group_tag text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    completed_at timestamptz,
    user_id uuid references auth.users (id) on delete set null,
    isprivatemessage boolean default false,
    contact_id text,
    broadcast_name text
);
create index idx_broadcast_jobs_connection_id on public.broadcast_jobs (connection_id);
create index idx_broadcast_jobs_status on public.broadcast_jobs (status);

create table public.broadcast_messages (
    id uuid primary key default gen_random_uuid(),
    job_id uuid references public.broadcast_jobs (id) on delete cascade,
    contact text not null,
    message text,
    type text default 'text',
    media_url text,
    caption text,
    status text default 'pending',
    message_id text,
    error text,
    sent_at timestamptz,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    data jsonb,
    message_ids text[]
);
create index idx_broadcast_messages_job_id on public.broadcast_messages (job_id);

create table public.scheduled_messages (
    id uuid primary key default gen_random_uuid(),
    connection_id text not null references public.connections (id) on delete cascade,
    contact_id text not null,
    message text not null,
    type text not null default 'text',
    media_url text,
    caption text,
    scheduled_at timestamptz not null,
    status text not null default 'pending',
    created_at timestamptz not null default now(),
    created_by uuid references auth.users (id) on delete set null,
    owner_id uuid references auth.users (id),
    sent_at timestamptz,
    message_id text,
    error text,
    is_recurring boolean default false,
    recurrence_pattern text,
    next_scheduled_at timestamptz,
    media json,
    asset_id uuid,
    scheduled_in_queue boolean default null,
    updated_at timestamptz,
    campaign text -- an application's own
);
create index idx_scheduled_messages_status on public.scheduled_messages (status);
create index idx_scheduled_messages_owner_id on public.scheduled_messages (owner_id);
create index idx_scheduled_messages_status_scheduled_at on public.scheduled_messages (status, scheduled_at);
alter table public.scheduled_messages enable row level security;
create policy "Own messages" on public.scheduled_messages for all using (owner_id = auth.uid());
create policy "The worker sees all" on public.scheduled_messages for select to anon using (true);
