-- SMTP AUTH: who may log in, and on whose behalf.
--
-- Every column that a rule is about has a domain for a type: what PostgreSQL says of a broken one (to the writer, and in
-- its own log) does not quote the row, and with it the hash.

create domain policy.smtp_username as text not null
  constraint username_is_1_to_255_characters_without_colon_or_controls check (policy.is_name(value) and value !~ ':')
  constraint username_is_in_normal_form_c check (value is nfc normalized);
comment on domain policy.smtp_username is 'What a customer logs in with. HTTP''s basic authentication has no room for a colon.';

-- One cost for all, which the service pays for unknown usernames, too: how long a refusal takes tells nothing.
create domain policy.argon2id as text not null
  constraint password_hash_is_argon2id_of_19_mib_two_passes_one_lane check (
    value ~ '^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$');
comment on domain policy.argon2id is 'The hash of a password, as `policyd credential` writes it.';

create domain policy.tenant_name as text not null;
comment on domain policy.tenant_name is 'The name of a tenant that must be given.';

create domain policy.yes_or_no as boolean not null;
comment on domain policy.yes_or_no is 'A boolean that must be one.';

create domain policy.networks as cidr[]
  constraint networks_are_null_for_any_or_not_empty check (cardinality(value) > 0 and array_position(value, null) is null);
comment on domain policy.networks is 'Some networks; null: any.';

create domain policy.point_in_time as timestamptz constraint it_is_a_point_in_time check (isfinite(value));
comment on domain policy.point_in_time is 'A time that comes.';

create table policy.smtp_credential (
  username policy.smtp_username constraint usernames_are_unique primary key,
  password_hash policy.argon2id,
  tenant policy.tenant_name constraint the_tenant_exists references policy.tenant on update cascade,
  networks policy.networks,
  enabled policy.yes_or_no default true,
  expires_at policy.point_in_time,
  tag text not null generated always as (
    'smtp_credential/' || replace(replace(username::text, '%', '%25'), '/', '%2F')) stored
    constraint smtp_credential_documents_are_unique unique
);
create unique index usernames_differ_by_more_than_case on policy.smtp_credential (lower(username::text));
create index smtp_credential_tenant on policy.smtp_credential (tenant);
comment on table policy.smtp_credential is
  'Who may log in to send mail. `policyd credential add` makes them; a password is nowhere, and its hash is shown to the service alone.';
comment on column policy.smtp_credential.username is
  'compared letter by letter, as kumod does with require_authz; no two differ by case alone';
comment on column policy.smtp_credential.password_hash is 'argon2id of the password in Unicode''s normal form C';
comment on column policy.smtp_credential.tenant is 'who it sends for, and for nobody else';
comment on column policy.smtp_credential.networks is 'from where; null: from anywhere';
comment on column policy.smtp_credential.enabled is 'false: may not log in';
comment on column policy.smtp_credential.expires_at is 'until when; null: no end';
comment on column policy.smtp_credential.tag is 'its document';

create or replace function policy.without_hash(record jsonb, other jsonb) returns jsonb
  language sql immutable parallel safe
  return case
    when not record ?| array['sha256', 'password_hash'] then record
    when record ? 'sha256' then
      case when other ->> 'sha256' <> record ->> 'sha256' then record || '{"sha256": "changed"}' else record - 'sha256' end
    when other ->> 'password_hash' <> record ->> 'password_hash' then record || '{"password_hash": "changed"}'
    else record - 'password_hash'
  end;
comment on function policy.without_hash(jsonb, jsonb) is
  'The row as the log may show it: never the hash of a token or password, but that it is another than the other row''s.';
alter table policy.change add constraint hashes_of_passwords_are_never_logged check (
  coalesce(old ->> 'password_hash', 'changed') = 'changed' and coalesce(new ->> 'password_hash', 'changed') = 'changed');

create function policy.warn_unlisted_credential() returns trigger language plpgsql set search_path = '' as $$
declare
  unlisted text;
begin
  select string_agg(format('%s (tenant %s)', quote_literal(x.username), quote_literal(x.tenant)), ', ') into unlisted
  from (
    select n.username, n.tenant from new_rows as n join policy.tenant as t on t.name = n.tenant
    where t.require_authz is not null and n.username::text <> all (t.require_authz)
    order by n.username limit 20) as x;
  if unlisted is not null then
    raise warning using
      message = format('may log in, but not send: %s, because require_authz of the tenant does not list it', unlisted),
      hint = 'Add the username to the tenant''s require_authz, or set that to null if any of its credentials will do.';
  end if;
  return null;
end $$;
comment on function policy.warn_unlisted_credential() is
  't400: a credential whose tenant has a require_authz without it can log in, and then has all its mail refused.';
call policy.watch('policy.smtp_credential');
create trigger t400_warn_unlisted_insert after insert on policy.smtp_credential referencing new table as new_rows
  for each statement execute function policy.warn_unlisted_credential();

create view policy.smtp_credential_document as
select s.tag, jsonb_strip_nulls(jsonb_build_object(
  'username', s.username, 'password_hash', s.password_hash, 'tenant', s.tenant, 'networks', s.networks::text[],
  'enabled', s.enabled, 'expires_at', floor(extract(epoch from s.expires_at))::bigint)) as body
from policy.smtp_credential as s;
comment on view policy.smtp_credential_document is 'What the service checks a login by; expires_at in seconds since 1970.';
comment on column policy.smtp_credential_document.tag is 'the document';
comment on column policy.smtp_credential_document.body is 'what it says';

insert into policy.privilege (role, privilege) values
  ('policyd_owner', 'select, insert, update, delete on policy.smtp_credential'),
  ('policyd_editor', 'select (username, tenant, networks, enabled, expires_at, tag), insert, update, delete on policy.smtp_credential'),
  ('policyd_reader', 'select (username, tenant, networks, enabled, expires_at, tag) on policy.smtp_credential'),
  ('policyd_owner', 'select on policy.smtp_credential_document'),
  ('policyd_service', 'select on policy.smtp_credential_document');
call policy.grant_access();
