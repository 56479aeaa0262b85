-- Texts with places for names, and the one function that fills them in, for a preview, a campaign,
-- a reminder and a single message alike: one pass over literals and names, so that a value which
-- holds `{date}` is not filled in again.
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- Two spellings are one name: case, blanks at the ends, and spaces, hyphens and underscores do not
-- count.
create or replace function private.placeholder(p_name text)
returns text
language sql
immutable
strict
parallel safe
set search_path = ''
as $$
    select regexp_replace(lower(btrim(translate(p_name, e'\u00a0\t', '  '))), '[ _-]+', '_', 'g')
$$;

-- A text, cut into literal, name, literal, … : every second part is a name. `{name}` and `{{name}}`
-- are places; a name begins with a letter, and all other braces are text.
-- `begin atomic`: users reach it by way of send_test, and have no way into `private`, where a body
-- that is read when it is called would look for `placeholder`.
-- noqa: disable=AL03,RF01,RF03,ST05,LT02
create or replace function private.cut(p_text text)
returns text[]
language sql
immutable
strict
parallel safe
set search_path = ''
begin atomic
    select array(
        select cut.part
        from (
            select
                literal.place * 2 as place,
                literal.part
            from regexp_split_to_table(p_text, place.pattern)
                with ordinality as literal (part, place)
            union all
            select
                found.place * 2 + 1,
                private.placeholder(coalesce(found.names[1], found.names[2]))
            from regexp_matches(p_text, place.pattern, 'g')
                with ordinality as found (names, place)
        ) as cut
        order by cut.place
    )
    from (
        select '\{\{' || name.pattern || '\}\}|\{' || name.pattern || '\}' as pattern
        -- What is no letter of ASCII is taken for one of another script.
        from (
            values ('[ \t]*([A-Za-z_\u0080-\uffff][A-Za-z0-9_ \u0080-\uffff-]*)')
        ) as name (pattern)
    ) as place;
end;
-- noqa: enable=AL03,RF01,RF03,ST05,LT02
revoke all on function private.placeholder, private.cut from public;
grant execute on function private.placeholder, private.cut to authenticated, service_role;

-- Values under the names of places; what is blank is no value. `begin atomic`: users call it, and
-- have no way into `private`.
-- noqa: disable=RF01,RF03,ST05,LT02
create or replace function private.values_of(p_given jsonb)
returns jsonb
language sql
immutable
parallel safe
set search_path = ''
begin atomic
    select coalesce(jsonb_object_agg(private.placeholder(given.name), given.value), '{}')
    from jsonb_each_text(
        case when jsonb_typeof(values_of.p_given) = 'object' then values_of.p_given end
    ) as given (name, value)
    where given.value !~ '^\s*$';
end;
-- noqa: enable=RF01,RF03,ST05,LT02
revoke all on function private.values_of from public;
grant execute on function private.values_of to authenticated, service_role;

-- The text with these values (private.values_of); a name without one is nothing.
create or replace function private.render(p_parts text[], p_values jsonb)
returns text
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
    v_text text := p_parts[1];
begin
    for v_place in 2..cardinality(p_parts) by 2 loop
        v_text := v_text || coalesce(p_values ->> p_parts[v_place], '') || p_parts[v_place + 1];
    end loop;
    return v_text;
end
$$;
revoke all on function private.render from public;
grant execute on function private.render to authenticated, service_role;

-- The names in a cut text, each once, in the order in which they come; with values, those that have
-- none.
create or replace function private.names_in(p_parts text[], p_values jsonb default '{}')
returns text[]
language sql
immutable
parallel safe
set search_path = ''
as $$
    select coalesce(array_agg(named.part order by named.place), '{}')
    from (
        select
            cut.part,
            min(cut.place) as place
        from unnest(p_parts) with ordinality as cut (part, place)
        where cut.place % 2 = 0 and not p_values ? cut.part
        group by cut.part
    ) as named
$$;
revoke all on function private.names_in from public;
grant execute on function private.names_in to authenticated, service_role;

create table if not exists public.message_templates (
    id uuid primary key default gen_random_uuid(),
    owner_id uuid not null,
    created_by uuid default auth.uid(),
    -- Null: for all connections of its owner.
    connection_id text,
    name text not null,
    language text not null default 'en',
    -- Marketing is what STOP ends and a limit to a person counts.
    category text not null default 'utility',
    -- The text, or the caption of a file.
    body text not null default '',
    type text not null default 'text',
    media_url text,
    defaults jsonb not null default '{}',
    -- What a name without a value is: a fault of that message, or nothing.
    on_missing text not null default 'fault',
    -- The Cloud API's approved template that stands for it there.
    cloud jsonb,
    -- The database's: raised by each change of what is sent; the names in the body; the body, cut
    -- (private.cut).
    version integer not null default 1,
    variables text[] not null default '{}',
    parts text[] not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (id, owner_id),
    constraint message_templates_name_given check (name ~ '\S' and length(name) <= 200),
    constraint message_templates_language_code check (
        language ~ '^[a-z]{2,3}([_-][A-Za-z]{2,4})?$'
    ),
    constraint message_templates_category_known check (category in ('marketing', 'utility')),
    constraint message_templates_type_known check (
        type in ('text', 'image', 'video', 'audio', 'document', 'media')
    ),
    constraint message_templates_body_short check (length(body) <= 65536),
    constraint message_templates_content_given check (
        type <> 'text' and coalesce(media_url, '') <> '' or type = 'text' and body ~ '\S'
    ),
    constraint message_templates_defaults_object check (
        jsonb_typeof(defaults) = 'object' and length(defaults::text) <= 16384
    ),
    constraint message_templates_on_missing_known check (on_missing in ('fault', 'blank')),
    constraint message_templates_cloud_complete check (
        cloud is null or (
            jsonb_typeof(cloud) = 'object'
            and jsonb_typeof(cloud -> 'name') = 'string'
            and jsonb_typeof(cloud -> 'language') = 'string'
            and coalesce(jsonb_typeof(cloud -> 'parameters'), 'array') = 'array'
            and coalesce(cloud ->> 'format', 'positional') in ('positional', 'named')
            and not jsonb_path_exists(cloud, '$.parameters[*] ? (@.type() != "string")')
            and (
                coalesce(jsonb_typeof(cloud -> 'header'), 'string') = 'string'
                or (
                    jsonb_typeof(cloud -> 'header') = 'object'
                    and cloud -> 'header' ->> 'type' in ('image', 'video', 'document')
                    and coalesce(jsonb_typeof(cloud -> 'header' -> 'link'), 'string') = 'string'
                )
            )
            and length(cloud::text) <= 8192
        )
    )
);
create index if not exists message_templates_owner_id_idx
on public.message_templates (owner_id, name);
create index if not exists message_templates_connection_id_idx
on public.message_templates (connection_id) where connection_id is not null;
comment on table public.message_templates is
'scheduled messages: texts with places for names.';
comment on constraint message_templates_name_given on public.message_templates is
'A template needs a name of at most 200 characters.';
comment on constraint message_templates_language_code on public.message_templates is
'The language of a template is a code such as en, hi or pt_BR.';
comment on constraint message_templates_category_known on public.message_templates is
'A template is marketing or utility.';
comment on constraint message_templates_type_known on public.message_templates is
'A template is a text, an image, a video, an audio or a document.';
comment on constraint message_templates_body_short on public.message_templates is
'The text of a template is longer than 65,536 characters.';
comment on constraint message_templates_content_given on public.message_templates is
'A template needs a text, or a link to its file.';
comment on constraint message_templates_defaults_object on public.message_templates is
'The defaults of a template are an object of names and values, at most 16 kB of it.';
comment on constraint message_templates_on_missing_known on public.message_templates is
'What has no value is a fault or blank.';
comment on constraint message_templates_cloud_complete on public.message_templates is
'The approved template needs its name and language, a list of the names that fill it, and as its '
'header a name, or an image, a video or a document.';

-- What each version said: a run that has begun goes on with the one that it began with.
create table if not exists private.template_versions (
    template_id uuid not null references public.message_templates (id) on delete cascade,
    version integer not null,
    parts text[] not null,
    type text not null,
    media_url text,
    defaults jsonb not null,
    on_missing text not null,
    category text not null,
    language text not null,
    cloud jsonb,
    primary key (template_id, version)
);
alter table private.template_versions enable row level security;
grant select, insert, update, delete on private.template_versions to service_role;

alter table public.message_templates enable row level security;
revoke all on public.message_templates from public, anon, authenticated;
grant select, insert, update, delete on public.message_templates to authenticated, service_role;
drop policy if exists message_templates_policy on public.message_templates;
create policy message_templates_policy on public.message_templates
for all to authenticated
using (
    owner_id = (select auth.uid())
    or (connection_id, owner_id) in (
        select
            mine.connection_id,
            mine.owner_id
        from private.my_connections() as mine
    )
    -- What all connections of an owner share, those who use one of them share as well.
    or (connection_id is null and owner_id in (
        select mine.owner_id from private.my_connections() as mine
    ))
);

-- Whose it is and what it holds is written here, by whomever it is written. A template without a
-- connection is its writer's.
create or replace function private.guard_template()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
    v_by_user constant boolean := tg_nargs > 0;
begin
    if tg_op = 'DELETE' then
        if v_by_user and old.owner_id is distinct from auth.uid() then
            perform private.owner_to_write_for(old.connection_id, array['admin']);
        end if;
        return old;
    end if;
    if v_by_user then
        if tg_op = 'UPDATE' and old.owner_id is distinct from auth.uid() then
            perform private.owner_to_write_for(old.connection_id, array['admin']);
            if new.connection_id is null then
                raise exception 'Only the owner makes a template that all connections share.'
                    using errcode = '42501';
            end if;
        end if;
        if new.connection_id is not null and (
            tg_op = 'INSERT' or new.connection_id is distinct from old.connection_id
        ) then
            new.owner_id := private.owner_to_write_for(new.connection_id, array['admin']);
        elsif tg_op = 'INSERT' then
            new.owner_id := auth.uid();
        else
            new.owner_id := old.owner_id;
        end if;
        if tg_op = 'UPDATE' and new.owner_id is distinct from old.owner_id then
            raise exception 'A template cannot be given to another owner.' using errcode = '42501';
        end if;
        if tg_op = 'INSERT' then
            new.created_by := auth.uid();
            new.created_at := now();
        else
            new.id := old.id;
            new.created_by := old.created_by;
            new.created_at := old.created_at;
        end if;
    end if;
    new.parts := private.cut(new.body);
    new.variables := private.names_in(new.parts);
    if tg_op = 'INSERT' then
        new.version := 1;
    else
        new.version := old.version + (
            (new.body, new.type, new.media_url, new.defaults, new.on_missing, new.category,
                new.language, new.cloud)
            is distinct from
            (old.body, old.type, old.media_url, old.defaults, old.on_missing, old.category,
                old.language, old.cloud)
        )::integer;
    end if;
    new.updated_at := now();
    return new;
end
$$;
revoke all on function private.guard_template from public;

create or replace trigger guard_template_of_user
before insert or update or delete on public.message_templates
for each row when (
    row_security_active('private.connection_owners'::regclass)
    and not pg_has_role('service_role', 'usage')
)
execute function private.guard_template('user');
create or replace trigger guard_template_of_service
before insert or update or delete on public.message_templates
for each row when (
    not (
        row_security_active('private.connection_owners'::regclass)
        and not pg_has_role('service_role', 'usage')
    )
)
execute function private.guard_template();

create or replace function private.keep_template_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    insert into private.template_versions (
        template_id, version, parts, type, media_url, defaults, on_missing, category, language,
            cloud
    )
    values (
        new.id, new.version, new.parts, new.type, new.media_url, new.defaults, new.on_missing,
            new.category,
        new.language, new.cloud
    )
    on conflict do nothing;
    return null;
end
$$;
revoke all on function private.keep_template_version from public;

create or replace trigger keep_template_version after insert on public.message_templates
for each row execute function private.keep_template_version();
create or replace trigger keep_next_template_version after update on public.message_templates
for each row when (new.version is distinct from old.version)
execute function private.keep_template_version();

-- The text of a template with these values, and the names that have none. Whose template it is the
-- policies say.
-- noqa: disable=RF01,RF03,ST05,LT02
create or replace function public.render_template(template_id uuid, variables jsonb default '{}')
returns table (text text, missing text[])
language sql
stable
set search_path = ''
begin atomic
    select
        private.render(template.parts, given.variables) as text,
        private.names_in(template.parts, given.variables) as missing
    from public.message_templates as template
    cross join lateral (
        select
            private.values_of(template.defaults)
            -- The local API server hands a json argument on as a string (docs/adr/0026).
            || private.values_of(case jsonb_typeof(render_template.variables) when 'string'
                then (render_template.variables #>> '{}')::jsonb
                else render_template.variables end) as variables
    ) as given
    where template.id = render_template.template_id;
end;
-- noqa: enable=RF01,RF03,ST05,LT02
revoke all on function public.render_template from public, anon;
grant execute on function public.render_template to authenticated, service_role;
