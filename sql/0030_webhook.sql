-- Webhooks: who is told what of the log, over HTTP.

create function policy.is_web_url(t text) returns boolean
  language sql immutable parallel safe
  return length(t) <= 2000
     and t ~ ('^https?://([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9a-fA-F:.]+\])'
              || '(:\d{1,5})?([/?][A-Za-z0-9_.~%!$&''()*+,;=:@/?-]*)?$')
     and coalesce(policy.is_ip(substring(t from '^https?://\[([^]]*)\]')), true)
     and coalesce(substring(t from '^https?://[^/?]*:(\d{1,5})([/?]|$)')::integer between 1 and 65535, true);
comment on function policy.is_web_url(text) is
  'True for an http or https URL in ASCII, at most 2,000 characters, without user, password and fragment.';

create function policy.names_no_credential(headers jsonb) returns boolean
  language sql immutable parallel safe
  return not exists (
    select from jsonb_each(headers) as h (name, value)
    where h.name ~* '^(authorization|cookie)$|(token|secret|password|api-?key)$' and jsonb_typeof(h.value) <> 'object');
comment on function policy.names_no_credential(jsonb) is
  'True where no header that carries a credential by its name (Authorization, Cookie, X-Api-Key …) has it as text.';

create function policy.leaves_out(headers jsonb, names text[]) returns boolean
  language sql immutable parallel safe
  return not exists (select from jsonb_object_keys(headers) as h (name) where lower(h.name) = any (names));
comment on function policy.leaves_out(jsonb, text[]) is 'True where no header is called one of these, which are in lower case.';

create function policy.are_headers(headers jsonb) returns boolean
  language sql immutable parallel safe
  return case when jsonb_typeof(headers) = 'object' then
    (select count(*) <= 50 and count(*) = count(distinct lower(h.name)) from jsonb_object_keys(headers) as h (name))
    and not exists (
      select from jsonb_each(headers) as h (name, value)
      where h.name !~ '^[A-Za-z0-9!#$%&''*+.^_`|~-]{1,100}$'
         or not coalesce(case jsonb_typeof(h.value)
              when 'string' then length(h.value #>> '{}') <= 1000 and h.value #>> '{}' ~ '^[!-~]([ -~]*[!-~])?$'
              else policy.is_secret(h.value)
            end, false))
    else false end;
comment on function policy.are_headers(jsonb) is
  'True for an object of at most 50 HTTP headers, each by one spelling: name → text in ASCII, or {"secret": NAME}.';

-- A domain, because what PostgreSQL says of a broken one shows no row: somebody may just have tried to write a password.
create domain policy.webhook_headers as jsonb
  constraint headers_are_texts_or_secrets_by_name check (value is null or policy.are_headers(value))
  constraint headers_of_the_connection_are_made_by_the_client check (policy.leaves_out(value, array[
    'host', 'connection', 'keep-alive', 'proxy-connection', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer',
    'transfer-encoding', 'upgrade', 'expect', 'content-length', 'content-encoding']))
  constraint headers_with_credentials_are_secrets_by_name check (policy.names_no_credential(value));
comment on domain policy.webhook_headers is 'Headers of a request, of which a row may show everything.';

create table policy.webhook (
  name text constraint webhooks_are_unique primary key
    constraint name_is_a_lower_case_label check (name ~ '^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$'),
  url text not null
    constraint url_is_http_in_ascii_without_user_and_fragment check (policy.is_web_url(url)),
  insecure boolean not null default false,
  tenant text constraint the_tenant_exists references policy.tenant on update cascade,
  events text[] not null constraint events_are_some_of_kumomtas_record_types check (
    cardinality(events) > 0 and events <@ array[
      'Reception', 'Delivery', 'Bounce', 'TransientFailure', 'Expiration', 'AdminBounce', 'OOB', 'Feedback', 'Rejection',
      'AdminRebind', 'DeferredInjectionRebind', 'Delayed', 'XferOut', 'XferIn']),
  headers policy.webhook_headers not null default '{}',
  secret text constraint secret_is_the_name_of_one check (policy.is_node_name(secret)),
  batch_size integer not null default 100 constraint batch_size_is_from_1_to_10000 check (batch_size between 1 and 10000),
  max_batch_latency text not null default '1s' constraint max_batch_latency_is_up_to_an_hour check (
    policy.is_duration(to_jsonb(max_batch_latency), 0, 3600)),
  timeout text not null default '30s' constraint timeout_is_from_one_second_to_five_minutes check (
    policy.is_duration(to_jsonb(timeout), 1, 300)),
  enabled boolean not null default true,
  tag text not null generated always as ('webhook') stored,
  constraint http_is_only_for_those_that_are_insecure check (url ~ '^https:' or insecure)
);
create index webhook_tenant on policy.webhook (tenant);
comment on table policy.webhook is
  'Who is told what of the log. A tenant with a webhook cannot be deleted: without its tenant it would be told of everybody''s mail.';
comment on column policy.webhook.name is 'a label: its records wait in the queue NAME.policyd.log_hook';
comment on column policy.webhook.url is 'where to POST; what is secret belongs into a header, by name';
comment on column policy.webhook.insecure is 'whether http will do: records name senders and recipients, and anybody on the way can read them';
comment on column policy.webhook.tenant is 'only records of its mail; null: of all mail';
comment on column policy.webhook.events is 'types of log records: Reception, Delivery, Bounce, TransientFailure, …';
comment on column policy.webhook.headers is 'further headers: name → text, or {"secret": NAME} as each node''s setup resolves it';
comment on column policy.webhook.secret is 'the name of the secret with which requests are signed (HMAC-SHA256); null: not signed';
comment on column policy.webhook.batch_size is 'records in one request, at most';
comment on column policy.webhook.max_batch_latency is 'how long a record waits for others to fill the batch, such as 1s';
comment on column policy.webhook.timeout is 'how long an answer is waited for, such as 30s';
comment on column policy.webhook.enabled is 'false: it is told nothing, and misses what happens meanwhile';
comment on column policy.webhook.tag is 'the document that it is part of: all webhooks';
call policy.watch('policy.webhook');

create view policy.webhook_document as
select 'webhook'::text as tag, jsonb_build_object('webhooks', coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
  'name', w.name, 'url', w.url, 'tenant', w.tenant, 'events', w.events, 'headers', nullif(w.headers, '{}'),
  'secret', case when w.secret is not null then jsonb_build_object('secret', w.secret) end,
  'batch_size', w.batch_size, 'max_batch_latency', w.max_batch_latency, 'timeout', w.timeout))
  order by w.name collate "C") filter (where w.enabled), '[]')) as body
from policy.webhook as w
having count(*) > 0;
comment on view policy.webhook_document is 'One document, there once there is a webhook: those that are enabled, by name.';
comment on column policy.webhook_document.tag is 'the document';
comment on column policy.webhook_document.body is 'what it says';

-- An editor may not allow http: a column that is not granted keeps its default.
insert into policy.privilege (role, privilege) values
  ('policyd_owner', 'select, insert, update, delete on policy.webhook'),
  ('policyd_editor', 'select, delete on policy.webhook'),
  ('policyd_editor', 'insert (name, url, tenant, events, headers, secret, batch_size, max_batch_latency, timeout, enabled) on policy.webhook'),
  ('policyd_editor', 'update (name, url, tenant, events, headers, secret, batch_size, max_batch_latency, timeout, enabled) on policy.webhook'),
  ('policyd_service', 'select on policy.webhook'),
  ('policyd_reader', 'select on policy.webhook'),
  ('policyd_owner', 'select on policy.webhook_document'),
  ('policyd_editor', 'select on policy.webhook_document'),
  ('policyd_service', 'select on policy.webhook_document'),
  ('policyd_reader', 'select on policy.webhook_document');
call policy.grant_access();
