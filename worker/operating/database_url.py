"""DATABASE_URL as dashboards and ORMs write it, made into what libpq takes. No message shows any of the password."""

import re
from urllib.parse import parse_qsl, unquote

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SCHEME = re.compile(r"^postgres(?:ql)?(?:\+\w+)?://", re.I)
# After the last @: hosts with their ports, the database, parameters. Passwords are pasted with anything in them.
PLACE = re.compile(
    r"^(?P<hosts>(?:[\w.-]+|\[[0-9a-f:.%]+\])(?::\w+)?(?:,(?:[\w.-]+|\[[0-9a-f:.%]+\])(?::\w+)?)*)?"
    r"(?:/(?P<dbname>[^/?]*))?(?:\?(?P<query>.*))?$",
    re.I,
)
LIBPQ = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())
# What other programs read from the same URL: Prisma, Vercel's Supabase integration, JDBC, node-postgres, asyncpg.
OTHERS = re.compile(
    r"pgbouncer|supa|connection_limit|(pool|socket)_timeout|pool(_size)?|schema|currentschema|sslaccept|workaround|"
    r"prepare(d_?statements|threshold)|(prepared_)?statement_cache_size|max_connections|statement_timeout|uselibpqcompat",
    re.I,
)


class UrlRefused(Exception):
    """DATABASE_URL cannot be understood; the message names the part."""


def conninfo(url: str) -> str:
    """libpq's connection string. Raises UrlRefused."""
    url = url.strip()
    if len(url) > 1 and url[0] == url[-1] and url[0] in "'\"":
        url = url[1:-1].strip()
    if "[your-password]" in url.lower():
        raise UrlRefused("its password is still the placeholder [YOUR-PASSWORD]; put the database's password there")
    if not (scheme := SCHEME.match(url)):
        return keywords(url)
    userinfo, _, place = url[scheme.end() :].rpartition("@")
    if not (parts := PLACE.match(place)):
        hint = "; write special characters of the password as %XX" if userinfo else ""
        raise UrlRefused(f"what stands after its last @ is no host:port/database{hint}")
    user, _, password = userinfo.partition(":")
    given = {"user": decoded(user), "password": decoded(password), "dbname": unquote(parts["dbname"] or "")}
    given |= hosts(parts["hosts"] or "") | parameters(parts["query"] or "")
    if userinfo and not given.get("host"):
        raise UrlRefused("no host stands after its last @")
    return make_conninfo(**{name: value for name, value in given.items() if value})


def keywords(text: str) -> str:
    """host=… dbname=…, which libpq takes too."""
    if "://" in text or "=" not in text:
        raise UrlRefused("it does not begin with postgresql:// (Supabase: Connect → Connection string → URI)")
    try:
        conninfo_to_dict(text)
    except ProgrammingError:
        raise UrlRefused("its list of keyword=value cannot be read; quote values that have blanks in them") from None
    return text


def decoded(text: str) -> str:
    """%XX means a character, unless a % stands there that means none: then it was pasted as it is."""
    return unquote(text) if not re.search(r"%(?![0-9a-f]{2})", text, re.I) else text


def hosts(text: str) -> dict[str, str]:
    names, ports = [], []
    for one in filter(None, text.split(",")):
        name, colon, port = one.rpartition(":") if re.search(r":\w+$", one) and not one.endswith("]") else (one, "", "")
        if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise UrlRefused("its port is no number between 1 and 65535")
        names.append(name.strip("[]"))
        ports.append(port)
    return {"host": ",".join(names), "port": ",".join(ports) if any(ports) else ""}


def parameters(text: str) -> dict[str, str]:
    given = dict(parse_qsl(text, keep_blank_values=True))
    if unknown := [name for name in given if name not in LIBPQ and not OTHERS.fullmatch(name)]:
        raise UrlRefused(f"its parameter {unknown[0][:40]!r} is none that is known; take it out")
    return {name: value for name, value in given.items() if name in LIBPQ and value}
