-- Dates and times as people of a language write them: the long date and the short time of the CLDR
-- (release 47, by way of Babel 2.17); ISO for languages that are not here.
create table if not exists private.date_words (
    language text primary key,
    -- With D, M and Y for the day, the month's name and the year; and PostgreSQL's own for the
    -- time.
    date_pattern text not null,
    time_pattern text not null,
    before_noon text,
    after_noon text,
    months text[] not null
);
alter table private.date_words enable row level security;
grant select on private.date_words to service_role;
-- Locks: none on tables that were there before.
set local lock_timeout = '1s';

insert into private.date_words (
    language, date_pattern, time_pattern, before_noon, after_noon, months
)
values
(
    'en', 'M D, Y', 'FMHH12:MI', 'AM', 'PM',
    '{January,February,March,April,May,June,'
    'July,August,September,October,November,December}'
),
(
    'hi', 'D M Y', 'FMHH12:MI', 'am', 'pm',
    '{जनवरी,फ़रवरी,मार्च,अप्रैल,मई,जून,'
    'जुलाई,अगस्त,सितंबर,अक्तूबर,नवंबर,दिसंबर}'
),
(
    'es', 'D de M de Y', 'FMHH24:MI', null, null,
    '{enero,febrero,marzo,abril,mayo,junio,'
    'julio,agosto,septiembre,octubre,noviembre,diciembre}'
),
(
    'pt', 'D de M de Y', 'HH24:MI', null, null,
    '{janeiro,fevereiro,março,abril,maio,junho,'
    'julho,agosto,setembro,outubro,novembro,dezembro}'
),
(
    'fr', 'D M Y', 'HH24:MI', null, null,
    '{janvier,février,mars,avril,mai,juin,'
    'juillet,août,septembre,octobre,novembre,décembre}'
),
(
    'de', 'D. M Y', 'HH24:MI', null, null,
    '{Januar,Februar,März,April,Mai,Juni,'
    'Juli,August,September,Oktober,November,Dezember}'
),
(
    'it', 'D M Y', 'HH24:MI', null, null,
    '{gennaio,febbraio,marzo,aprile,maggio,giugno,'
    'luglio,agosto,settembre,ottobre,novembre,dicembre}'
),
(
    'ar', 'D M Y', 'FMHH12:MI', 'ص', 'م',
    '{يناير,فبراير,مارس,أبريل,مايو,يونيو,'
    'يوليو,أغسطس,سبتمبر,أكتوبر,نوفمبر,ديسمبر}'
),
(
    'id', 'D M Y', 'HH24.MI', null, null,
    '{Januari,Februari,Maret,April,Mei,Juni,'
    'Juli,Agustus,September,Oktober,November,Desember}'
),
(
    'tr', 'D M Y', 'HH24:MI', null, null,
    '{Ocak,Şubat,Mart,Nisan,Mayıs,Haziran,'
    'Temmuz,Ağustos,Eylül,Ekim,Kasım,Aralık}'
)
on conflict (language) do update
    set
        date_pattern = excluded.date_pattern,
        time_pattern = excluded.time_pattern,
        before_noon = excluded.before_noon,
        after_noon = excluded.after_noon,
        months = excluded.months;

-- By the words of a language (private.date_words); without any, ISO 8601.
create or replace function private.spell_date(p_pattern text, p_months text[], p_date date)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
    if p_pattern is null then
        return to_char(p_date, 'YYYY-MM-DD');
    end if;
    return replace(
        replace(
            replace(p_pattern, 'D', extract(day from p_date)::text),
            'Y', extract(year from p_date)::text
        ),
        'M', p_months[extract(month from p_date)::integer]
    );
end
$$;

create or replace function private.spell_time(
    p_pattern text, p_before_noon text, p_after_noon text, p_time time
)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
    return to_char(date '2000-01-01' + p_time, coalesce(p_pattern, 'HH24:MI'))
        || coalesce(' ' || case when p_time < '12:00' then p_before_noon else p_after_noon end, '');
end
$$;
revoke all on function private.spell_date, private.spell_time from public;

-- A wall time as an instant, by the rules of docs/recurrence.md: of a time that comes twice the
-- first, where PostgreSQL takes the second; a time that does not exist moves forward by the gap.
-- Clocks go back by half an hour (Lord Howe), one, two (Troll) or three (Casey): the first is the
-- instant that the offset of the day before makes of it.
create or replace function private.wall_to_instant(p_wall timestamp, p_zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
    v_second constant timestamptz := p_wall at time zone p_zone;
    v_day_before constant timestamptz := v_second - interval '24 hours';
    v_first constant timestamptz := (
        p_wall - (v_day_before at time zone p_zone - v_day_before at time zone 'UTC')
    ) at time zone 'UTC';
begin
    return case
        when v_first < v_second and v_first at time zone p_zone = p_wall then v_first
        else v_second
    end;
end
$$;
revoke all on function private.wall_to_instant from public;
grant execute on function private.wall_to_instant to service_role;
