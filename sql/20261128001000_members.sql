-- Who else may use a connection: its owner's staff. What is written for a connection belongs to its
-- owner (`owner_id`), and whoever leaves takes nothing away. Where nobody knows who owns a
-- connection, it has no members.
-- Locks: `create trigger` on connections takes `share row exclusive`, `create policy` `access
-- exclusive`, for an instant.
set local lock_timeout = '1s';

create table if not exists public.connection_members (
    connection_id text not null,
    user_id uuid not null references auth.users (id) on delete cascade,
    -- `staff` write messages, appointments, campaigns; `admin` templates, rules and members
    -- besides.
    role text not null default 'staff',
    -- The connection's owner, who it is to be for as long as this row is there.
    owner_id uuid not null,
    created_by uuid default auth.uid(),
    created_at timestamptz not null default now(),
    -- The token of an invitation, by which its holder becomes a member. Never kept.
    invitation text,
    primary key (connection_id, user_id),
    constraint connection_members_role_known check (role in ('admin', 'staff')),
    constraint connection_members_invitation_not_kept check (invitation is null)
);
-- Who it is, for people: what the member said when joining. Accounts are not looked up.
alter table public.connection_members add column if not exists name text;
alter table public.connection_members drop constraint if exists connection_members_name_short;
alter table public.connection_members add constraint connection_members_name_short check (
    length(name) <= 200
);
create index if not exists connection_members_user_id_idx on public.connection_members (user_id);
comment on table public.connection_members is
'scheduled messages: who may use a connection beside its owner.';
comment on constraint connection_members_role_known on public.connection_members is
'A member is admin or staff.';
comment on constraint connection_members_name_short on public.connection_members is
'The name of a member has at most 200 characters.';

create table if not exists public.connection_invitations (
    id uuid primary key default gen_random_uuid(),
    connection_id text not null,
    owner_id uuid not null,
    role text not null default 'staff',
    token_hash text not null,
    created_by uuid default auth.uid(),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null default now() + interval '7 days',
    constraint connection_invitations_role_known check (role in ('admin', 'staff'))
);
create unique index if not exists connection_invitations_token_hash_key
on public.connection_invitations (token_hash);
create index if not exists connection_invitations_connection_id_idx
on public.connection_invitations (connection_id);
comment on table public.connection_invitations is
'scheduled messages: invitations that nobody has taken yet; a token is kept as its hash alone.';
comment on constraint connection_invitations_role_known on public.connection_invitations is
'An invitation makes somebody admin or staff.';

-- The caller's memberships. It runs as its owner, since a policy of this very table asks it; it
-- takes no argument, is asked once a statement, and tells nobody's but the caller's own.
create or replace function private.my_connections()
returns table (connection_id text, owner_id uuid)
language sql
stable
security definer
rows 5
set search_path = ''
as $$
    select
        member.connection_id,
        member.owner_id
    from public.connection_members as member
    where member.user_id = auth.uid()
$$;
revoke all on function private.my_connections from public;
grant execute on function private.my_connections to authenticated, service_role;

-- Who owns a connection; null where nobody knows. For definers and the service key: it does not ask
-- what the caller may see.
create or replace function private.connection_owner(p_connection_id text)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
    v_owner constant text := private.owner_by_id(p_connection_id);
begin
    -- What a project keeps as an owner need not be one of its users.
    return case when v_owner ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then v_owner::uuid end;
end
$$;
revoke all on function private.connection_owner from public;
grant execute on function private.connection_owner to service_role;

-- Whom a row of this connection belongs to, asked before it is written: the owner, also when a
-- member writes it. Refuses a connection that is not the caller's to use like one that does not
-- exist, and whoever is suspended. Volatile: who owns it is read once whoever takes the right has
-- to wait (private.take_right), not as it was when the statement began.
create or replace function private.owner_to_write_for(p_connection_id text, p_roles text[])
returns uuid
language plpgsql
volatile
set search_path = ''
as $$
declare
    v_me constant uuid := auth.uid();
    v_owner uuid;
    v_role text;
begin
    perform private.hold_right_of('connection ' || p_connection_id);
    v_owner := private.connection_owner(p_connection_id);
    if v_owner is distinct from v_me then
        select member.role into v_role
        from public.connection_members as member
        where member.connection_id = p_connection_id
            and member.user_id = v_me
            and member.owner_id = v_owner;
        if v_role is null then
            raise exception 'There is no such connection of yours.' using errcode = '42501';
        elsif v_role <> all(p_roles) then
            raise exception 'Only % of this connection may do this.', case
                when 'admin' = any(p_roles) then 'the owner and admins'
                else 'the owner'
            end using errcode = '42501';
        end if;
    end if;
    perform private.hold_right_of(v_owner::text);
    if exists (
        select from auth.users as u
        where u.id in (v_me, v_owner) and private.is_suspended(to_jsonb(u))
    ) then
        raise exception using errcode = '42501', message = case v_me
            when v_owner then 'This account is suspended and sends no messages.'
            else 'Your account, or that of the connection''s owner, is suspended.'
        end;
    end if;
    return v_owner;
end
$$;
revoke all on function private.owner_to_write_for from public;

-- Why an owner sends nothing through a connection; null where they do. Of one that nobody is known
-- to own, only whoever is a user here can have lost it.
create or replace function private.why_lost(p_connection_id text, p_owner_id uuid)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
    v_owner uuid;
    v_user jsonb;
begin
    if not exists (
        select from public.connections as c where c.id::text = any(array[p_connection_id])
    ) then
        return 'There is no such connection any more.';
    end if;
    v_owner := private.connection_owner(p_connection_id);
    select to_jsonb(u) into v_user from auth.users as u where u.id = p_owner_id;
    return case
        when v_owner <> p_owner_id then 'The connection is somebody else''s now.'
        when v_owner is null
            and v_user is not null
            and exists (
                select from pg_catalog.pg_attribute as a
                where a.attrelid = 'public.connections'::regclass
                    and a.attname in ('user_id', 'owner_id')
                    and not a.attisdropped
            ) then 'The connection is nobody''s now.'
        when private.is_suspended(v_user)
            then 'The account of the connection''s owner is suspended.'
    end;
end
$$;
revoke all on function private.why_lost from public;

-- The same of a row that is there already. Whoever gave a connection away, and is a member of it
-- now, has nothing of that time to send through it.
create or replace function private.refuse_former_owner(
    p_connection_id text, p_owner_id uuid, p_roles text[]
)
returns void
language plpgsql
set search_path = ''
as $$
begin
    if private.owner_to_write_for(p_connection_id, p_roles) <> p_owner_id then
        raise exception 'There is no such connection of yours.' using errcode = '42501';
    end if;
end
$$;
revoke all on function private.refuse_former_owner from public;

alter table public.connection_members enable row level security;
revoke all on public.connection_members from public, anon, authenticated;
grant select, insert, update, delete on public.connection_members to authenticated, service_role;
drop policy if exists connection_members_policy on public.connection_members;
create policy connection_members_policy on public.connection_members
for all to authenticated
using (
    owner_id = (select auth.uid())
    or user_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);

alter table public.connection_invitations enable row level security;
revoke all on public.connection_invitations from public, anon, authenticated;
grant select, insert, delete on public.connection_invitations to authenticated;
grant select, insert, update, delete on public.connection_invitations to service_role;
drop policy if exists connection_invitations_policy on public.connection_invitations;
create policy connection_invitations_policy on public.connection_invitations
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

-- The owner invites anybody, admins invite staff. What is stored is fixed here, whatever the writer
-- says.
create or replace function private.guard_invitation()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    if tg_op = 'DELETE' then
        perform private.owner_to_write_for(old.connection_id, array['admin']);
        return old;
    end if;
    new.owner_id := private.owner_to_write_for(
        new.connection_id, case when new.role = 'staff' then array['admin'] else array[]::text[] end
    );
    new.created_by := auth.uid();
    new.created_at := now();
    new.expires_at := now() + interval '7 days';
    return new;
end
$$;
revoke all on function private.guard_invitation from public;

create or replace trigger guard_invitation before insert or delete on public.connection_invitations
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_invitation();

-- A new member comes with an invitation's token, or is written by the owner (staff also by an
-- admin). Roles are the owner's to change; anybody may leave.
create or replace function private.guard_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_invitation public.connection_invitations;
begin
    if tg_op = 'DELETE' then
        if old.user_id is distinct from auth.uid() then
            perform private.owner_to_write_for(
                old.connection_id, case when old.role = 'staff'
                    then array['admin'] else array[]::text[] end
            );
        end if;
        return old;
    elsif tg_op = 'UPDATE' then
        new.owner_id := private.owner_to_write_for(old.connection_id, array[]::text[]);
        if (new.connection_id, new.user_id) is distinct from (old.connection_id, old.user_id) then
            raise exception 'Of a member only the role and the name can be changed.'
                using errcode = '42501';
        end if;
        new.created_by := old.created_by;
        new.created_at := old.created_at;
        return new;
    elsif new.invitation is not null then
        delete from public.connection_invitations as invitation
        where invitation.token_hash = encode(sha256(convert_to(new.invitation, 'utf8')), 'hex')
            and invitation.expires_at > now()
            and invitation.owner_id = private.connection_owner(invitation.connection_id)
        returning invitation.* into v_invitation;
        if not found then
            raise exception 'This invitation is not valid any more. Ask for a new one.'
                using errcode = 'PT400';
        end if;
        new.connection_id := v_invitation.connection_id;
        new.user_id := auth.uid();
        new.role := v_invitation.role;
        new.owner_id := v_invitation.owner_id;
        new.created_by := v_invitation.created_by;
        new.invitation := null;
    else
        new.owner_id := private.owner_to_write_for(
            new.connection_id, case when new.role = 'staff'
                then array['admin'] else array[]::text[] end
        );
        new.created_by := auth.uid();
    end if;
    if new.user_id = new.owner_id then
        raise exception 'The owner of a connection needs no membership.' using errcode = 'PT409';
    end if;
    new.created_at := now();
    return new;
end
$$;
revoke all on function private.guard_member from public;

create or replace trigger guard_member
before insert or update or delete on public.connection_members
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_member();

-- A one-time token for whoever is to join, shown to the caller alone and once.
create or replace function public.invite_member(connection_id text, role text default 'staff')
returns text
language plpgsql
set search_path = ''
as $$
declare
    v_token constant text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
begin
    insert into public.connection_invitations (connection_id, role, owner_id, token_hash)
    values (
        invite_member.connection_id,
        coalesce(invite_member.role, 'staff'),
        -- The guard writes the owner's.
        auth.uid(),
        encode(sha256(convert_to(v_token, 'utf8')), 'hex')
    );
    return v_token;
end
$$;
revoke all on function public.invite_member from public, anon, service_role;
grant execute on function public.invite_member to authenticated;
comment on function public.invite_member(text, text) is
'Returns a token that makes its holder a member of the connection, once, for seven days.';

-- Members go with their connection and with a change of its owner; what they wrote stays the
-- owner's.
create or replace function private.end_memberships()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.connection_invitations as invitation
    where invitation.connection_id = old.id::text;
    delete from public.connection_members as member
    where member.connection_id = old.id::text;
    return null;
end
$$;
revoke all on function private.end_memberships from public;

do $outer$
declare
    v_owners text;
begin
    if (select c.relkind not in ('r', 'p') from pg_class as c
        where c.oid = 'public.connections'::regclass) then
        return;
    end if;
    select string_agg(format('or old.%1$I is distinct from new.%1$I', a.attname), ' ')
    into v_owners
    from pg_attribute as a
    where a.attrelid = 'public.connections'::regclass
        and a.attname in ('user_id', 'owner_id')
        and not a.attisdropped;
    -- Before the core's, by the name: what staff wrote is the owner's alone by then, and is
    -- cancelled with what the owner wrote.
    create or replace trigger b_end_memberships_of_deleted after delete on public.connections
    for each row execute function private.end_memberships();
    execute format(
        'create or replace trigger b_end_memberships after update on public.connections '
        'for each row when (old.id is distinct from new.id %s) '
        'execute function private.end_memberships()',
        v_owners
    );
end
$outer$;

-- Whoever has left sends nothing more of their own, and no longer sees, as their author, what they
-- wrote for the owner. Whoever has become the owner has lost nothing.
create or replace function private.end_what_members_wrote()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_former record;
begin
    update public.scheduled_messages as message
    set created_by = null
    from old_members as former
    where message.created_by = former.user_id
        and message.owner_id = former.owner_id
        and message.connection_id = former.connection_id;
    for v_former in
        select
            former.connection_id,
            former.user_id
        from old_members as former
        -- Of a user who is deleted the core has cancelled them.
        join auth.users as u on u.id = former.user_id
        where private.connection_owner(former.connection_id) is distinct from former.user_id
        order by former.user_id
    loop
        perform private.take_right(v_former.user_id::text);
        perform private.cancel_messages(
            v_former.connection_id, v_former.user_id::text,
            'You may not use the WhatsApp connection of this message any more.'
        );
    end loop;
    return null;
end
$$;
revoke all on function private.end_what_members_wrote from public;

create or replace trigger end_what_members_wrote after delete on public.connection_members
referencing old table as old_members
for each statement execute function private.end_what_members_wrote();

-- Whom somebody has invited who may invite nobody any more: nobody comes back by that.
create or replace function private.end_invitations_of_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    delete from public.connection_invitations as invitation
    where invitation.connection_id = old.connection_id and invitation.created_by = old.user_id;
    return null;
end
$$;
revoke all on function private.end_invitations_of_member from public;

create or replace trigger end_invitations_of_former_member
after delete on public.connection_members
for each row execute function private.end_invitations_of_member();
create or replace trigger end_invitations_of_former_admin
after update on public.connection_members
for each row when (old.role = 'admin' and new.role <> 'admin')
execute function private.end_invitations_of_member();

-- Whose name a message bears that is written of something of the owner's: its author's, while they
-- may use the connection.
create or replace function private.author_of(
    p_connection_id text, p_owner_id uuid, p_created_by uuid
)
returns uuid
language sql
stable
set search_path = ''
as $$
    select p_created_by
    where p_created_by = p_owner_id or exists (
        select
        from public.connection_members as member
        where member.connection_id = p_connection_id
            and member.user_id = p_created_by
            and member.owner_id = p_owner_id
    )
$$;
revoke all on function private.author_of from public;
grant execute on function private.author_of to service_role;

-- What members may see of what was there before.
drop policy if exists connections_member_policy on public.connections;
drop policy if exists contacts_member_policy on public.contacts;
drop policy if exists connection_settings_member_policy on public.connection_settings;
drop policy if exists scheduled_messages_member_policy on public.scheduled_messages;

create policy connection_settings_member_policy on public.connection_settings
for select to authenticated
using (connection_id in (select mine.connection_id from private.my_connections() as mine));

-- By the index of connections first, for an account's list is asked all day.
create policy scheduled_messages_member_policy on public.scheduled_messages
for all to authenticated
using (
    connection_id = any(array(select mine.connection_id from private.my_connections() as mine))
    and (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
);

do $outer$
declare
    v_owner text;
begin
    if exists (select from pg_class as c where c.oid = 'public.connections'::regclass
        and c.relkind in ('r', 'p')) then
        create policy connections_member_policy on public.connections for select to authenticated
        using (
            id::text = any(array(select mine.connection_id from private.my_connections() as mine))
        );
    end if;

    select a.attname into v_owner
    from pg_attribute as a
    join pg_class as c on c.oid = a.attrelid and c.relkind in ('r', 'p')
    where a.attrelid = 'public.contacts'::regclass
        and a.attname in ('owner_id', 'user_id')
        and not a.attisdropped
    order by a.attname = 'owner_id' desc
    limit 1;
    if v_owner is not null then
        execute format(
            'create policy contacts_member_policy on public.contacts for select to authenticated '
            'using (%I::text = any(array('
            'select mine.owner_id::text from private.my_connections() as mine)))',
            v_owner
        );
    end if;
end
$outer$;

-- What of a connection's settings its owner and admins write: how the connection presents itself
-- and when it may write. The rest (the operator's switch, gateway, sender, pace, limits) they read.
alter table public.connection_settings
-- {hospital_name} in texts; null: the connection's name.
add column if not exists display_name text,
-- `campaigns`: what is activated waits until another admin lets it go.
add column if not exists approval text not null default 'none';

alter table public.connection_settings drop constraint if exists connection_settings_approval_known;
alter table public.connection_settings add constraint connection_settings_approval_known check (
    approval in ('none', 'campaigns')
);
alter table public.connection_settings
drop constraint if exists connection_settings_display_name_short;
alter table public.connection_settings add constraint connection_settings_display_name_short check (
    length(display_name) <= 200
);

create or replace function private.guard_settings()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_old public.connection_settings;
    v_new public.connection_settings := new;
begin
    perform private.owner_to_write_for(new.connection_id, array['admin']);
    if tg_op = 'UPDATE' then
        v_old := old;
    else
        -- What the operator has not set is as it is without settings.
        v_old.connection_id := new.connection_id;
        v_old.enabled := true;
        v_old.burst := 1;
        v_old.jitter_seconds := 0;
        v_old.at_daily_limit := 'defer';
    end if;
    v_new.active := v_old.active;
    v_new.display_name := v_old.display_name;
    v_new.timezone := v_old.timezone;
    v_new.country_code := v_old.country_code;
    v_new.window_start := v_old.window_start;
    v_new.window_end := v_old.window_end;
    v_new.approval := v_old.approval;
    v_new.updated_at := v_old.updated_at;
    if v_new is distinct from v_old then
        raise exception
            using errcode = '42501', message = 'The pace, the limits, the gateway and its '
            || 'sender, and whether a connection is enabled, are the operator''s.';
    end if;
    new.updated_at := now();
    return new;
end
$$;
revoke all on function private.guard_settings from public;

create or replace trigger guard_settings before insert or update on public.connection_settings
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_settings();

grant insert, update on public.connection_settings to authenticated;
drop policy if exists connection_settings_insert_policy on public.connection_settings;
create policy connection_settings_insert_policy on public.connection_settings
for insert to authenticated
with check (
    exists (
        select 1 from public.connections as connection
        where connection.id::text = connection_settings.connection_id
    )
);
drop policy if exists connection_settings_update_policy on public.connection_settings;
create policy connection_settings_update_policy on public.connection_settings
for update to authenticated
using (
    exists (
        select 1 from public.connections as connection
        where connection.id::text = connection_settings.connection_id
    )
);
