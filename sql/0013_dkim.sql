-- DKIM: which domain signs with what, as in the files of the dkim_sign helper, and which key that is: a root that the
-- service's configuration knows, and a name below it. Neither a key nor a path is ever in a row.

create function policy.is_key_root(t text) returns boolean
  language sql immutable parallel safe
  return t ~ '^[a-z][a-z0-9-]{0,62}$';
comment on function policy.is_key_root(text) is 'True for what a key root may be called in the configuration: default, acme-2.';

create function policy.is_key_name(t text) returns boolean
  language sql immutable parallel safe
  -- Bounds in the regex itself would cost a hundred times as much.
  return t ~ '^[A-Za-z0-9_+=@-][A-Za-z0-9_.+=@-]*(/[A-Za-z0-9_+=@-][A-Za-z0-9_.+=@-]*)*$'
     and length(t) - length(replace(t, '/', '')) <= 7
     and (length(t) <= 200 or t !~ '[^/]{201}');
comment on function policy.is_key_name(text) is
  'True for a name below a key root: one to eight parts joined by /, none of which begins with a dot.';

create table policy.dkim_settings (
  singleton boolean primary key default true constraint there_is_one_row check (singleton),
  selector text,
  headers text[] not null default '{From,To,Subject,Date,MIME-Version,Content-Type,Sender}',
  header_canonicalization text,
  body_canonicalization text,
  over_sign boolean,
  expiration bigint,
  key_root text not null default 'default' constraint key_root_is_like_default_or_acme_2 check (policy.is_key_root(key_root)),
  tag text not null generated always as ('dkim_settings') stored constraint dkim_settings_documents_are_unique unique
);
comment on table policy.dkim_settings is 'One row: what a domain or signature gets that does not say otherwise.';
comment on column policy.dkim_settings.singleton is 'always true';
comment on column policy.dkim_settings.selector is 'the selector; null: every domain and signature has its own';
comment on column policy.dkim_settings.headers is 'headers that are signed; From is among them';
comment on column policy.dkim_settings.header_canonicalization is 'Relaxed or Simple; null: Relaxed';
comment on column policy.dkim_settings.body_canonicalization is 'Relaxed or Simple; null: Relaxed';
comment on column policy.dkim_settings.over_sign is
  'whether headers are signed once more than they occur; true here cannot be undone by false below, as in KumoMTA';
comment on column policy.dkim_settings.expiration is 'seconds after which a signature is worth nothing; null: never';
comment on column policy.dkim_settings.key_root is 'the key root of domains and signatures that name none';
comment on column policy.dkim_settings.tag is 'its document';

create table policy.dkim_domain (
  domain text constraint dkim_domains_are_unique primary key
    constraint domain_is_lower_case_a_labels_without_trailing_dot check (policy.is_domain(domain)),
  selector text,
  algorithm text,
  headers text[],
  header_canonicalization text,
  body_canonicalization text,
  over_sign boolean,
  expiration bigint,
  key_root text constraint key_root_is_like_default_or_acme_2 check (policy.is_key_root(key_root)),
  key_name text constraint key_name_is_a_name_below_a_root_and_no_path check (policy.is_key_name(key_name)),
  not_before timestamptz constraint not_before_is_a_point_in_time check (isfinite(not_before)),
  not_after timestamptz constraint not_after_is_a_point_in_time check (isfinite(not_after)),
  tag text not null generated always as ('dkim_domain/' || domain) stored constraint dkim_domain_documents_are_unique unique,
  constraint not_before_is_earlier_than_not_after check (not_before < not_after)
);
comment on table policy.dkim_domain is 'Domains of From: headers that sign for themselves. The nearest name wins; d= is always the domain itself.';
comment on column policy.dkim_domain.domain is 'a domain, *.parent for all below one, or * for all others';
comment on column policy.dkim_domain.selector is 'the selector; null: as in dkim_settings, like the columns below';
comment on column policy.dkim_domain.algorithm is 'sha256 (RSA) or ed25519, what the key must be; null: whatever it is';
comment on column policy.dkim_domain.headers is 'headers that are signed; From is among them';
comment on column policy.dkim_domain.header_canonicalization is 'Relaxed or Simple';
comment on column policy.dkim_domain.body_canonicalization is 'Relaxed or Simple';
comment on column policy.dkim_domain.over_sign is 'whether headers are signed once more than they occur';
comment on column policy.dkim_domain.expiration is 'seconds after which a signature is worth nothing';
comment on column policy.dkim_domain.key_root is 'the key root; null: that of dkim_settings';
comment on column policy.dkim_domain.key_name is 'the key below it, which others may name too; null: DOMAIN/SELECTOR';
comment on column policy.dkim_domain.not_before is 'when it begins to sign; null: at once';
comment on column policy.dkim_domain.not_after is 'when it stops; outside its time it does not sign, and no wildcard above it does';
comment on column policy.dkim_domain.tag is 'its document';

create table policy.dkim_signature (
  name text constraint dkim_signatures_are_unique primary key
    constraint name_has_no_control_characters_and_no_blanks_at_its_ends check (policy.is_name(name)),
  domain text not null constraint domain_is_lower_case_a_labels_without_trailing_dot check (
    policy.is_domain(domain) and domain !~ '\*'),
  policy text not null default 'Always',
  selector text,
  algorithm text,
  headers text[],
  header_canonicalization text,
  body_canonicalization text,
  over_sign boolean,
  expiration bigint,
  key_root text constraint key_root_is_like_default_or_acme_2 check (policy.is_key_root(key_root)),
  key_name text constraint key_name_is_a_name_below_a_root_and_no_path check (policy.is_key_name(key_name)),
  not_before timestamptz constraint not_before_is_a_point_in_time check (isfinite(not_before)),
  not_after timestamptz constraint not_after_is_a_point_in_time check (isfinite(not_after)),
  tag text not null generated always as ('dkim_signature/' || replace(replace(name, '%', '%25'), '/', '%2F')) stored
    constraint dkim_signature_documents_are_unique unique,
  constraint not_before_is_earlier_than_not_after check (not_before < not_after)
);
comment on table policy.dkim_signature is
  'Signatures in the name of another domain than that of From:, such as the operator''s own. dkim_additional_signature says which are added.';
comment on column policy.dkim_signature.name is 'the signature';
comment on column policy.dkim_signature.domain is 'its d=';
comment on column policy.dkim_signature.policy is 'Always, or OnlyIfMissingDomainBlock: only where the From: domain does not sign for itself';
comment on column policy.dkim_signature.selector is 'the selector; null: as in dkim_settings, like the columns below';
comment on column policy.dkim_signature.algorithm is 'sha256 (RSA) or ed25519, what the key must be; null: whatever it is';
comment on column policy.dkim_signature.headers is 'headers that are signed; From is among them';
comment on column policy.dkim_signature.header_canonicalization is 'Relaxed or Simple';
comment on column policy.dkim_signature.body_canonicalization is 'Relaxed or Simple';
comment on column policy.dkim_signature.over_sign is 'whether headers are signed once more than they occur';
comment on column policy.dkim_signature.expiration is 'seconds after which a signature is worth nothing';
comment on column policy.dkim_signature.key_root is 'the key root; null: that of dkim_settings';
comment on column policy.dkim_signature.key_name is 'the key below it, which others may name too; null: DOMAIN/SELECTOR';
comment on column policy.dkim_signature.not_before is 'when it begins to sign; null: at once';
comment on column policy.dkim_signature.not_after is 'when it stops';
comment on column policy.dkim_signature.tag is 'its document';

create table policy.dkim_additional_signature (
  position integer constraint additional_signatures_are_ordered primary key
    constraint positions_count_from_zero check (position >= 0),
  signature text not null constraint the_signature_exists references policy.dkim_signature on update cascade
    -- At the end, because two may change places.
    constraint additional_signatures_are_listed_once unique deferrable initially deferred,
  tag text not null generated always as ('dkim_settings') stored
);
comment on table policy.dkim_additional_signature is 'Which signatures every message gets besides its domain''s own, in this order.';
comment on column policy.dkim_additional_signature.position is 'place in the order';
comment on column policy.dkim_additional_signature.signature is 'the signature';
comment on column policy.dkim_additional_signature.tag is 'the document that it is part of: dkim_settings';

create function policy.raise_no_selector(target text, named text) returns void language plpgsql set search_path = '' as $$
begin
  raise exception using
    errcode = 'check_violation', schema = 'policy', table = target, column = 'selector',
    constraint = 'every_signature_has_a_selector',
    message = format('policy.%s, %s: there is no selector, neither its own nor one in policy.dkim_settings', target, named);
end $$;
comment on function policy.raise_no_selector(text, text) is 'Refuses a domain or signature that could not sign.';

create function policy.check_selectors() returns trigger language plpgsql set search_path = '' as $$
declare
  fault text := (select policy.described(tg_relid, to_jsonb(n)) from new_rows as n where n.selector is null limit 1);
begin
  if fault is not null and exists (select from policy.dkim_settings as s where s.selector is null) then
    perform policy.raise_no_selector(tg_table_name, fault);
  end if;
  return null;
end $$;
comment on function policy.check_selectors() is 't100: refuses rows without a selector where the settings have none.';

create function policy.check_default_selector() returns trigger language plpgsql set search_path = '' as $$
declare
  fault record;
begin
  if exists (select from policy.dkim_settings as s where s.selector is not null) then
    return null;
  end if;
  select f.target, f.named into fault from (
    (select 'dkim_domain' as target, format('domain %L', d.domain) as named
     from policy.dkim_domain as d where d.selector is null limit 1)
    union all
    (select 'dkim_signature', format('name %L', s.name) from policy.dkim_signature as s where s.selector is null limit 1)) as f
  limit 1;
  if found then
    perform policy.raise_no_selector(fault.target, fault.named);
  end if;
  return null;
end $$;
comment on function policy.check_default_selector() is
  't100, at the end of the transaction: refuses to take away the settings'' selector from rows without their own.';

insert into policy.dkim_settings default values;
call policy.watch('policy.dkim_settings', 'dkim_settings');
call policy.watch('policy.dkim_domain', 'dkim_domain');
call policy.watch('policy.dkim_signature', 'dkim_signature');
call policy.watch('policy.dkim_additional_signature');
create constraint trigger t100_check_default_selector after update of selector on policy.dkim_settings
  deferrable initially deferred for each row when (new.selector is null) execute function policy.check_default_selector();
create trigger t100_check_selectors_insert after insert on policy.dkim_domain referencing new table as new_rows
  for each statement execute function policy.check_selectors();
create trigger t100_check_selectors_update after update on policy.dkim_domain referencing new table as new_rows
  for each statement execute function policy.check_selectors();
create trigger t100_check_selectors_insert after insert on policy.dkim_signature referencing new table as new_rows
  for each statement execute function policy.check_selectors();
create trigger t100_check_selectors_update after update on policy.dkim_signature referencing new table as new_rows
  for each statement execute function policy.check_selectors();
create trigger t050_keep_settings before delete on policy.dkim_settings for each row
  execute function policy.keep('the row of dkim_settings cannot be deleted; its columns may be changed');

create view policy.dkim_settings_document as
select s.tag, jsonb_strip_nulls(to_jsonb(s) - '{singleton,tag}'::text[] || jsonb_build_object('additional_signatures', (
  -- Sorted below the aggregate: PostgreSQL 15 sorts inside of one by hand, and reads the whole table for it.
  select jsonb_agg(a.signature)
  from (select d.signature from policy.dkim_additional_signature as d order by d.position) as a))) as body
from policy.dkim_settings as s;
comment on view policy.dkim_settings_document is 'What applies where a domain or signature says nothing, and which signatures are added.';
comment on column policy.dkim_settings_document.tag is 'the document';
comment on column policy.dkim_settings_document.body is 'what it says';

create view policy.dkim_domain_document as
select d.tag, jsonb_strip_nulls(to_jsonb(d) - '{domain,tag}'::text[] || jsonb_build_object(
  'not_before', extract(epoch from d.not_before), 'not_after', extract(epoch from d.not_after))) as body
from policy.dkim_domain as d;
comment on view policy.dkim_domain_document is 'How a domain signs for itself; times in seconds since 1970.';
comment on column policy.dkim_domain_document.tag is 'the document';
comment on column policy.dkim_domain_document.body is 'what it says';

create view policy.dkim_signature_document as
select s.tag, jsonb_strip_nulls(to_jsonb(s) - '{name,tag}'::text[] || jsonb_build_object(
  'not_before', extract(epoch from s.not_before), 'not_after', extract(epoch from s.not_after))) as body
from policy.dkim_signature as s;
comment on view policy.dkim_signature_document is 'A signature in the name of another domain; times in seconds since 1970.';
comment on column policy.dkim_signature_document.tag is 'the document';
comment on column policy.dkim_signature_document.body is 'what it says';

do $$
declare
  rows_ text := 'policy.dkim_settings, policy.dkim_domain, policy.dkim_signature, policy.dkim_additional_signature';
  documents text := 'policy.dkim_settings_document, policy.dkim_domain_document, policy.dkim_signature_document';
begin
  insert into policy.privilege (role, privilege)
  select r.role, format('select, insert, update, delete on %s', rows_) from (values ('policyd_owner'), ('policyd_editor')) as r (role)
  union all
  select r.role, format('select on %s', rows_) from (values ('policyd_service'), ('policyd_reader')) as r (role)
  union all
  select r.role, format('select on %s', documents)
  from (values ('policyd_owner'), ('policyd_editor'), ('policyd_service'), ('policyd_reader')) as r (role);
end $$;
call policy.grant_access();
