-- Listener domains: what a domain may do at a listener.

create table policy.listener_domain (
  listener text not null default '*' constraint listener_is_a_star_an_address_with_port_or_a_name check (
    listener ~ '^(\*|[][A-Za-z0-9._:-]{1,255})$'),
  domain text not null constraint domain_is_lower_case_a_labels_without_trailing_dot check (policy.is_domain(domain)),
  relay_to boolean,
  relay_from text[],
  relay_from_authz text[],
  log_oob text,
  log_arf text,
  tag text not null generated always as ('listener_domain/' || listener || '/' || domain) stored
    constraint listener_domain_documents_are_unique unique,
  constraint listener_domains_are_unique primary key (listener, domain)
);
comment on table policy.listener_domain is
  'What a domain may do at a listener, as in listener_domains.toml. The nearest name of the exact listener wins, then that of *.';
comment on column policy.listener_domain.listener is 'ip:port of the accepted connection, a name from the listener''s meta, or * for any';
comment on column policy.listener_domain.domain is 'a domain, *.parent for all below one, or * for all others';
comment on column policy.listener_domain.relay_to is 'whether to accept mail for it';
comment on column policy.listener_domain.relay_from is 'networks that may send from it';
comment on column policy.listener_domain.relay_from_authz is 'authenticated users that may send from it';
comment on column policy.listener_domain.log_oob is 'bounces to it: true, false, Ignore, LogThenDrop, LogThenRelay';
comment on column policy.listener_domain.log_arf is 'feedback reports to it: the same';
comment on column policy.listener_domain.tag is 'its document';
call policy.watch('policy.listener_domain', 'listener_domain');

create view policy.listener_domain_document as
select d.tag, jsonb_strip_nulls(jsonb_build_object(
  'relay_to', d.relay_to,
  'relay_from', nullif(to_jsonb(d.relay_from), '[]'),
  'relay_from_authz', nullif(to_jsonb(d.relay_from_authz), '[]'),
  'log_oob', case when d.log_oob in ('true', 'false') then d.log_oob::jsonb else to_jsonb(d.log_oob) end,
  'log_arf', case when d.log_arf in ('true', 'false') then d.log_arf::jsonb else to_jsonb(d.log_arf) end)) as body
from policy.listener_domain as d;
comment on view policy.listener_domain_document is 'Parameters of kumo.make_listener_domain, and relay_from_authz.';
comment on column policy.listener_domain_document.tag is 'the document';
comment on column policy.listener_domain_document.body is 'what it says';
