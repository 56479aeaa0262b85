-- The Cloud API's approved templates that stand for ours: what is known of them, and the one that a
-- message bears. Meta, "Template messages" and "message_templates".
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

-- The names whose values an approved template needs: of its body, and of its header. Bound, since
-- users reach it through send_test.
-- noqa: disable=AL03,RF01,RF03,ST05,LT02
create or replace function private.names_of_approved(p_cloud jsonb)
returns text[]
language sql
immutable
parallel safe
set search_path = ''
begin atomic
    select coalesce(array_agg(distinct private.placeholder(needed.name)), '{}')
    from (
        select jsonb_array_elements_text(names_of_approved.p_cloud -> 'parameters')
        where jsonb_typeof(names_of_approved.p_cloud -> 'parameters') = 'array'
        union all
        select names_of_approved.p_cloud ->> 'header'
        where jsonb_typeof(names_of_approved.p_cloud -> 'header') = 'string'
        union all
        select unnest(
            private.names_in(private.cut(names_of_approved.p_cloud -> 'header' ->> 'link'))
        )
    ) as needed (name);
end;
-- noqa: enable=AL03,RF01,RF03,ST05,LT02

-- An approved template with these values (private.values_of), as the Cloud API takes it; what has
-- none is ''. p_media_url: the file of a header that names none.
create or replace function private.fill_approved(
    p_cloud jsonb, p_values jsonb, p_media_url text
)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path = ''
as $$
declare
    v_is_named constant boolean := p_cloud ->> 'format' = 'named';
    v_header constant jsonb := p_cloud -> 'header';
    v_kind constant text := v_header ->> 'type';
    v_components jsonb := '[]';
    v_body jsonb;
begin
    if p_cloud is null then
        return null;
    elsif jsonb_typeof(v_header) = 'string' then
        v_components := jsonb_build_array(jsonb_build_object(
            'type', 'header',
            'parameters', jsonb_build_array(
                private.approved_value(v_header #>> '{}', p_values, v_is_named)
            )
        ));
    elsif jsonb_typeof(v_header) = 'object' then
        v_components := jsonb_build_array(jsonb_build_object(
            'type', 'header',
            'parameters', jsonb_build_array(jsonb_build_object(
                'type', v_kind,
                v_kind, v_header - 'type' || jsonb_build_object('link', case
                    when v_header ? 'link'
                        then private.render(private.cut(v_header ->> 'link'), p_values)
                    else p_media_url
                end)
            ))
        ));
    end if;
    select jsonb_agg(
        private.approved_value(given.name, p_values, v_is_named) order by given.place
    )
    into v_body
    from jsonb_array_elements_text(p_cloud -> 'parameters') with ordinality as given (name, place);
    if v_body is not null then
        v_components := v_components || jsonb_build_object('type', 'body', 'parameters', v_body);
    end if;
    return jsonb_build_object(
        'name', p_cloud -> 'name',
        'language', jsonb_build_object('code', p_cloud -> 'language'),
        'components', v_components
    );
end
$$;

create or replace function private.approved_value(
    p_name text, p_values jsonb, p_is_named boolean
)
returns jsonb
language sql
immutable
parallel safe
set search_path = ''
as $$
    select case
        when p_is_named then jsonb_build_object('type', 'text', 'parameter_name', p_name)
        else jsonb_build_object('type', 'text')
    end || jsonb_build_object(
        'text', coalesce(p_values ->> private.placeholder(p_name), '')
    )
$$;
revoke all on function private.names_of_approved, private.fill_approved,
private.approved_value from public;
grant execute on function private.names_of_approved to authenticated, service_role;
grant execute on function private.fill_approved, private.approved_value to service_role;

-- The business accounts whose templates are known of: all of them where the daemon has read the
-- list, which is at read_at. is_default: whether the connections that name no gateway go through
-- the Cloud API.
create table if not exists private.template_accounts (
    account_id text primary key,
    is_default boolean not null,
    read_at timestamptz
);
alter table private.template_accounts enable row level security;
grant select, insert, update, delete on private.template_accounts to service_role;

-- Their templates. `status` in Meta's words; `places` are those of the body, null where nobody has
-- read them; `header` is text, image, video, document or location, `header_places` those of a text.
create table if not exists private.approved_templates (
    account_id text not null references private.template_accounts (account_id) on delete cascade,
    name text not null,
    language text not null,
    status text not null,
    reason text,
    format text,
    places text[],
    header text,
    header_places text[],
    primary key (account_id, name, language)
);
create index if not exists approved_templates_name_idx
on private.approved_templates (name, language);
alter table private.approved_templates enable row level security;
grant select, insert, update, delete on private.approved_templates to service_role;

-- Whether what goes out through a connection goes through the Cloud API, as far as is known here: a
-- connection that names no gateway goes where the daemon's settings say.
create or replace function private.goes_by_cloud(p_connection_id text)
returns boolean
language sql
stable
set search_path = ''
as $$
    select coalesce(
        (
            select settings.gateway = 'cloud'
            from public.connection_settings as settings
            where settings.connection_id = p_connection_id and settings.gateway is not null
        ),
        exists (select from private.template_accounts as account where account.is_default)
    )
$$;

-- Why WhatsApp would not send an approved template as it is used here; null where it would, or
-- where nothing is known of it.
create or replace function private.why_not_approved(p_cloud jsonb, p_connection_id text)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
    v_called constant text := format('"%s" (%s)', p_cloud ->> 'name', p_cloud ->> 'language');
    v_format constant text := coalesce(p_cloud ->> 'format', 'positional');
    v_given constant text[] := array(
        select given.name
        from jsonb_array_elements_text(p_cloud -> 'parameters') as given (name)
    );
    v_header constant text := case jsonb_typeof(p_cloud -> 'header')
        when 'string' then 'text'
        when 'object' then p_cloud -> 'header' ->> 'type'
    end;
    v_known private.approved_templates;
    v_missing text;
begin
    if p_cloud is null or not private.goes_by_cloud(p_connection_id) then
        return null;
    end if;
    -- Where several accounts have one of this name, one that can be sent.
    select known.* into v_known
    from private.approved_templates as known
    where known.name = p_cloud ->> 'name'
        and known.language = replace(p_cloud ->> 'language', '-', '_')
    order by known.status = 'APPROVED' desc, known.account_id
    limit 1;
    if not found and not exists (
        select from private.template_accounts as account where account.read_at is not null
    ) then
        return null;
    elsif v_known.name is null then
        return format(
            'WhatsApp has no template %s. Compare its name and language with what stands in '
            'WhatsApp Manager under Message templates.', v_called
        );
    elsif v_known.status <> 'APPROVED' then
        return format(
            'WhatsApp does not send the template %s at this time: it is %s%s. See WhatsApp '
            'Manager under Message templates.',
            v_called,
            replace(lower(v_known.status), '_', ' '),
            ' (' || replace(lower(v_known.reason), '_', ' ') || ')'
        );
    elsif v_known.places is null then
        return null;
    elsif cardinality(v_known.places) <> cardinality(v_given) then
        return format(
            'The approved template %s has %s places in its text, and it is given %s values.',
            v_called, cardinality(v_known.places), cardinality(v_given)
        );
    elsif v_known.format <> v_format and cardinality(v_given) > 0 then
        return format(
            'The approved template %s takes its values by %s: set its format to %s.',
            v_called,
            case v_known.format when 'named' then 'their names' else 'their places' end,
            v_known.format
        );
    elsif v_known.header is distinct from v_header and not (
        v_known.header = 'text' and v_known.header_places = '{}' and v_header is null
    ) then
        return format(
            'The approved template %s has %s as its header, and it is given %s.',
            v_called, coalesce(v_known.header, 'nothing'), coalesce(v_header, 'nothing')
        );
    end if;
    if v_format = 'named' then
        select string_agg(place.name, '}, {') into v_missing
        from unnest(v_known.places) as place (name)
        where place.name <> all(v_given);
    end if;
    if v_missing is not null then
        return format('The approved template %s also needs {%s}.', v_called, v_missing);
    end if;
    return null;
end
$$;
revoke all on function private.goes_by_cloud, private.why_not_approved from public;
grant execute on function private.goes_by_cloud, private.why_not_approved to service_role;

-- What can be sent through one of these connections. What WhatsApp has approved is closed to users,
-- so a function reads it as its owner. Users cannot name it: they reach it by way of
-- approved_templates, whose body is bound when it is made, and which asks the policies of
-- `connections` first (sql/README.md).
create or replace function private.approved_for(p_connection_ids text[])
returns table (
    name text,
    language text,
    format text,
    places text[],
    header text,
    header_places text[]
)
language sql
stable
security definer
set search_path = ''
as $$
    select distinct on (known.name, known.language)
        known.name,
        known.language,
        known.format,
        known.places,
        known.header,
        known.header_places
    from private.approved_templates as known
    where known.status = 'APPROVED'
        and exists (
            select from unnest(p_connection_ids) as given (id) where private.goes_by_cloud(given.id)
        )
    order by known.name, known.language, known.account_id
    limit 1000
$$;
revoke all on function private.approved_for from public;
grant execute on function private.approved_for to authenticated, service_role;

-- The approved templates that a template of ours can stand for, through this connection; without
-- one, through any of the caller's. `places` are those of the body, null where nobody has read
-- them.
create or replace function public.approved_templates(connection_id text default null)
returns table (
    name text,
    language text,
    format text,
    places text[],
    header text,
    header_places text[]
)
language sql
stable
set search_path = ''
begin atomic
    select
        known.name,
        known.language,
        known.format,
        known.places,
        known.header,
        known.header_places
    from (
        select array_agg(connection.id::text) as ids
        from public.connections as connection
        where $1 is null or connection.id::text = $1
    ) as mine
    cross join lateral private.approved_for(mine.ids) as known;
end;
revoke all on function public.approved_templates from public, anon;
grant execute on function public.approved_templates to authenticated, service_role;
comment on function public.approved_templates is
'What WhatsApp has approved of the templates that the caller''s connections can send.';
